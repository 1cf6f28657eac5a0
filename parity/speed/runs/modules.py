"""The networks as NNX modules, of Flax's layers or of jaxtrain's."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxtrain import nn
from parity.speed.runs.task import Cnn, Gpt, Mlp


class Layers(NamedTuple):
    """How a library makes its layers; `rngs` comes first."""

    linear: Callable[[nnx.Rngs, int, int], Any]
    dropout: Callable[[nnx.Rngs, float], Any]
    batch_norm: Callable[[nnx.Rngs, int], Any]
    layer_norm: Callable[[nnx.Rngs, int], Any]
    conv: Callable[[nnx.Rngs, int, int, int, int], Any]
    embedding: Callable[[nnx.Rngs, int, int], Any]


FLAX = Layers(
    lambda rngs, inside, out: nnx.Linear(inside, out, rngs=rngs),
    lambda rngs, share: nnx.Dropout(share, rngs=rngs),
    lambda rngs, features: nnx.BatchNorm(features, momentum=0.9, rngs=rngs),
    lambda rngs, features: nnx.LayerNorm(features, rngs=rngs),
    lambda rngs, inside, out, size, stride: nnx.Conv(
        inside, out, (size, size), stride, padding=size // 2, use_bias=False, rngs=rngs
    ),
    lambda rngs, rows, width: nnx.Embed(rows, width, rngs=rngs),
)
OURS = Layers(
    lambda rngs, inside, out: nn.Linear(inside, out, rngs=rngs),
    lambda rngs, share: nn.Dropout(share, rngs=rngs),
    lambda rngs, features: nn.BatchNorm(features),
    lambda rngs, features: nn.LayerNorm(features),
    lambda rngs, inside, out, size, stride: nn.Conv(
        inside, out, (size, size), stride, padding=size // 2, bias=False, rngs=rngs
    ),
    lambda rngs, rows, width: nn.Embedding(rows, width, rngs=rngs),
)


def module(description: Mlp | Cnn | Gpt, layers: Layers) -> nnx.Module:
    """The module of a network."""
    rngs = nnx.Rngs(0)
    match description:
        case Mlp():
            return _Mlp(description, layers, rngs)
        case Cnn():
            return _Cnn(description, layers, rngs)
        case Gpt():
            return _Gpt(description, layers, rngs)


class _Mlp(nnx.Module):
    def __init__(self, description: Mlp, layers: Layers, rngs: nnx.Rngs) -> None:
        *hidden, last = description.layers
        self.hidden = nnx.List([layers.linear(rngs, *sizes) for sizes in hidden])
        self.norms = nnx.List([layers.batch_norm(rngs, out) for _, out in hidden] if description.batch_norm else [])
        self.drops = nnx.List(
            [layers.dropout(rngs, description.dropout) for _ in hidden] if description.dropout else []
        )
        self.out = layers.linear(rngs, *last)

    def __call__(self, x: jax.Array) -> jax.Array:
        for index, linear in enumerate(self.hidden):
            x = linear(x)
            x = jax.nn.relu(self.norms[index](x) if self.norms else x)
            x = self.drops[index](x) if self.drops else x
        return self.out(x)


class _Block(nnx.Module):
    def __init__(self, inside: int, out: int, stride: int, layers: Layers, rngs: nnx.Rngs) -> None:
        self.conv1, self.conv2 = layers.conv(rngs, inside, out, 3, stride), layers.conv(rngs, out, out, 3, 1)
        self.norm1, self.norm2 = layers.batch_norm(rngs, out), layers.batch_norm(rngs, out)
        self.shortcut = None if (inside, stride) == (out, 1) else layers.conv(rngs, inside, out, 1, stride)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = jax.nn.relu(self.norm1(self.conv1(x)))
        return jax.nn.relu(self.norm2(self.conv2(y)) + (x if self.shortcut is None else self.shortcut(x)))


class _Cnn(nnx.Module):
    def __init__(self, description: Cnn, layers: Layers, rngs: nnx.Rngs) -> None:
        widths = description.widths
        self.stem, self.norm = layers.conv(rngs, 3, widths[0], 3, 1), layers.batch_norm(rngs, widths[0])
        self.blocks = nnx.List([_Block(*block, layers, rngs) for block in description.blocks])
        self.out = layers.linear(rngs, widths[-1], description.classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = jax.nn.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.out(x.mean((1, 2)))


class _Attention(nnx.Module):
    def __init__(self, description: Gpt, layers: Layers, rngs: nnx.Rngs) -> None:
        width = description.width
        self.heads = description.heads
        self.norm1, self.norm2 = layers.layer_norm(rngs, width), layers.layer_norm(rngs, width)
        self.attend, self.project = layers.linear(rngs, width, 3 * width), layers.linear(rngs, width, width)
        self.widen, self.narrow = layers.linear(rngs, width, 4 * width), layers.linear(rngs, 4 * width, width)

    def __call__(self, x: jax.Array) -> jax.Array:
        parts = self.attend(self.norm1(x)).reshape(*x.shape[:-1], 3, self.heads, -1)
        seen = jax.nn.dot_product_attention(*(parts[..., part, :, :] for part in range(3)), is_causal=True)
        x = x + self.project(seen.reshape(x.shape))
        return x + self.narrow(jax.nn.gelu(self.widen(self.norm2(x))))


class _Gpt(nnx.Module):
    def __init__(self, description: Gpt, layers: Layers, rngs: nnx.Rngs) -> None:
        self.tokens = layers.embedding(rngs, description.vocabulary, description.width)
        self.places = layers.embedding(rngs, description.context, description.width)
        self.blocks = nnx.List([_Attention(description, layers, rngs) for _ in range(description.depth)])
        self.norm = layers.layer_norm(rngs, description.width)
        self.out = layers.linear(rngs, description.width, description.vocabulary)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = self.tokens(tokens) + self.places(jnp.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x))
