"""Elementwise functions with PyTorch's gradients at ties and zeros, where JAX's own differ."""

import functools
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero

EPSILON = float(np.float32(1e-12))
"""Keeps PyTorch's divisors away from 0: a float32, in float64 programs too."""


def along(slopes: Sequence[Array], tangents: Sequence[Any]) -> Array:
    """The derivative along tangents, symbolic zeros among them.

    A slope may be infinite, and infinity times 0 is NaN: arguments that do not change are left out.
    """
    terms = (slope * dot for slope, dot in zip(slopes, tangents, strict=True) if not isinstance(dot, SymbolicZero))
    return functools.reduce(operator.add, terms)


@jax.custom_jvp
def absolute(x: Array) -> Array:
    """|x| with gradient 0 at 0 and NaN, where `jnp.abs` has 1 and -1."""
    return jnp.abs(x)


# Not by `jnp.abs(x)`: where value and slope share it, XLA's CPU compiler writes it to memory before it sums.
absolute.defjvps(lambda tangent, _, x: jnp.where(x > 0, tangent, jnp.where(x < 0, -tangent, 0 * tangent)))


@jax.custom_jvp
def hinge(x: Array) -> Array:
    """max(0, x) with gradient 1 at 0, where `jax.nn.relu` has 0 and `jnp.maximum` ½."""
    # Not `jnp.maximum`, for which XLA's CPU compiler writes an array of zeros before it sums.
    return jnp.where(x < 0, 0, x)


hinge.defjvps(lambda tangent, _, x: jnp.where(x < 0, 0, tangent))


@jax.custom_jvp
def product_or_zero(p: Array, log_q: Array) -> Array:
    """p · log q with 0 · log 0 = 0 in value and gradient, where the plain product has NaN."""
    return jnp.where((p == 0) & jnp.isneginf(log_q), 0, p * log_q)


@product_or_zero.defjvp
def _product_or_zero_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (p, log_q), (p_dot, log_q_dot) = primals, tangents
    finite = jnp.where((p == 0) & jnp.isneginf(log_q), 0, log_q)
    return product_or_zero(p, log_q), finite * p_dot + p * log_q_dot


@jax.custom_jvp
def root(x: Array) -> Array:
    """√x with gradient 0 at 0, where `jnp.sqrt` has infinity."""
    return jnp.sqrt(x)


@root.defjvp
def _root_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    value = root(*primals)
    is_zero = value == 0
    return value, jnp.where(is_zero, 0, tangents[0] / jnp.where(is_zero, 1, 2 * value))


@jax.custom_jvp
def softplus(x: Array) -> Array:
    """log(1 + exp(x)) with the logistic function as its gradient, where `jax.nn.softplus` loses digits."""
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


softplus.defjvps(lambda tangent, _, x: jax.nn.sigmoid(x) * tangent)


@jax.custom_jvp
def logistic_entropy(input: Array, target: Array, pos_weight: Array | None = None) -> Array:
    """pos_weight · target · softplus(-input) + (1 - target) · softplus(input), with accurate slopes near 0."""
    size, small = jnp.abs(input), jnp.log1p(jnp.exp(-jnp.abs(input)))
    if pos_weight is None:
        return size * jnp.where(input < 0, target, 1 - target) + small
    positive = pos_weight * target
    return size * jnp.where(input < 0, positive, 1 - target) + (positive + (1 - target)) * small


@logistic_entropy.defjvp
def _logistic_entropy_jvp(
    primals: tuple[Array, Array, Array | None], tangents: tuple[Array, Array, Any]
) -> tuple[Array, Array]:
    input, target, pos_weight = primals
    input_dot, target_dot, pos_weight_dot = tangents
    value = logistic_entropy(*primals)
    # The logistic function below 0; above it, what is missing to 1.
    share = jax.nn.sigmoid(-jnp.abs(input))
    if pos_weight is None:
        return value, jnp.where(input < 0, share - target, 1 - target - share) * input_dot - input * target_dot
    positive = pos_weight * target
    share = (positive + (1 - target)) * share
    slope = jnp.where(input < 0, share - positive, 1 - target - share)
    # The difference of the two softplus, without their cancellation near 0.
    target_slope = (pos_weight - 1) * softplus(-input) - input
    return value, slope * input_dot + target_slope * target_dot + target * softplus(-input) * pos_weight_dot
