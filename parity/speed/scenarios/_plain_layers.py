"""Layers that Flax does not have, as one would write them in plain JAX."""

from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

SATURATION = -1.7580993408473766


class AlphaDropout(nnx.Module):
    """SELU's dropout, with a mask of the input's shape, or of its examples and channels."""

    def __init__(self, p: float, *, channels: bool = False, rngs: nnx.Rngs):
        self.p, self.channels, self.rngs = p, channels, rngs.dropout.fork()

    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (x.shape[0], *[1] * (x.ndim - 2), x.shape[-1]) if self.channels else x.shape
        keep = jax.random.bernoulli(self.rngs(), 1 - self.p, shape)
        scale = ((1 - self.p) * (1 + self.p * SATURATION**2)) ** -0.5
        return scale * jnp.where(keep, x, SATURATION) - scale * self.p * SATURATION


class LocalResponseNorm(nnx.Module):
    """Division by the energy of the neighbouring channels, the last axis."""

    def __init__(self, size: int):
        self.size = size

    def __call__(self, x: jax.Array) -> jax.Array:
        padding = [*[(0, 0)] * (x.ndim - 1), (self.size // 2, (self.size - 1) // 2)]
        window, strides = (*[1] * (x.ndim - 1), self.size), (1,) * x.ndim
        energy = lax.reduce_window(x * x, 0.0, lax.add, window, strides, padding)
        return x / (1 + 1e-4 * energy / self.size) ** 0.75


class AdaptiveLogSoftmax(nnx.Module):
    """Frequent classes in a head, the others in clusters behind bottlenecks."""

    def __init__(self, features: int, classes: int, cutoffs: Sequence[int], *, rngs: nnx.Rngs):
        self.cutoffs = (*cutoffs, classes)
        self.head = nnx.Linear(features, cutoffs[0] + len(cutoffs), use_bias=False, rngs=rngs)
        self.tail = nnx.List(
            nnx.Sequential(
                nnx.Linear(features, features // 4**power, use_bias=False, rngs=rngs),
                nnx.Linear(features // 4**power, high - low, use_bias=False, rngs=rngs),
            )
            for power, (low, high) in enumerate(pairwise(self.cutoffs), 1)
        )

    def __call__(self, x: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
        def pick(log_prob: jax.Array, index: jax.Array) -> jax.Array:
            index = jnp.clip(index, 0, log_prob.shape[-1] - 1)
            return jnp.take_along_axis(log_prob, index[:, None], axis=-1)[:, 0]

        head = jax.nn.log_softmax(self.head(x))
        output = pick(head, target)
        for number, (low, high) in enumerate(pairwise(self.cutoffs)):
            within = pick(jax.nn.log_softmax(self.tail[number](x)), target - low)
            output = jnp.where((target >= low) & (target < high), head[:, self.cutoffs[0] + number] + within, output)
        return output, -jnp.mean(output)


class PReLU(nnx.Module):
    """A slope of each channel for what is below zero."""

    def __init__(self, channels: int):
        self.slopes = nnx.Param(jnp.full(channels, 0.25))

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.where(x >= 0, x, self.slopes[...] * x)


class Bilinear(nnx.Module):
    """A bilinear form of the input with itself for each output."""

    def __init__(self, features: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(jax.random.normal(rngs.params(), (features, features, features)))
        self.bias = nnx.Param(jnp.zeros(features))

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.einsum("bi,bj,ijo->bo", x, x, self.kernel[...]) + self.bias[...]
