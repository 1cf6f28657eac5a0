"""Small layers and functions of `nn`, and the expressions that one would write without them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxtrain import nn
from parity.speed.scenarios import _plain_layers as plain
from parity.speed.scenarios.layers import FEATURES, IMAGES, Row
from parity.speed.scenarios.sequences import Applied

WINDOWS, STRIDES = (2, 2), (2, 2)


def _function(
    component: str,
    configuration: str,
    counterpart: str,
    ours: Callable[[jax.Array], jax.Array],
    theirs: Callable[[jax.Array], jax.Array],
    shape: tuple[int, ...],
) -> Row:
    return Row(
        component,
        configuration,
        counterpart,
        lambda rngs: nnx.Sequential(ours),
        lambda rngs: nnx.Sequential(theirs),
        shape,
    )


def _in_heads(x: jax.Array) -> jax.Array:
    return x.reshape(*x.shape[:2], 4, 32)


def _bags(layer: Any, x: jax.Array) -> jax.Array:
    return layer(x).mean(-2)


ROWS = [
    Row(
        "EmbeddingBag",
        "10,000 rows, bags of 128",
        "the mean of nnx.Embed",
        lambda rngs: nn.EmbeddingBag(10_000, 64, rngs=rngs),
        lambda rngs: Applied(nnx.Embed(10_000, 64, rngs=rngs), _bags),
        (32, 128),
        integers=10_000,
    ),
    Row(
        "PReLU",
        "256 channels",
        "jnp.where(x >= 0, x, slopes * x)",
        lambda rngs: nn.PReLU(256),
        lambda rngs: plain.PReLU(256),
        FEATURES,
    ),
    Row(
        "Bilinear",
        "32 and 32 to 32",
        "jnp.einsum",
        lambda rngs: Applied(nn.Bilinear(32, 32, 32, rngs=rngs), lambda layer, x: layer(x, x)),
        lambda rngs: plain.Bilinear(32, rngs=rngs),
        (256, 32),
    ),
    _function(
        "max_pool",
        "2x2",
        "nnx.max_pool",
        lambda x: nn.max_pool(x, 2),
        lambda x: nnx.max_pool(x, WINDOWS, STRIDES),
        IMAGES,
    ),
    _function(
        "avg_pool",
        "2x2",
        "nnx.avg_pool",
        lambda x: nn.avg_pool(x, 2),
        lambda x: nnx.avg_pool(x, WINDOWS, STRIDES),
        IMAGES,
    ),
    _function(
        "adaptive_avg_pool",
        "to 1x1",
        "x.mean((1, 2))",
        lambda x: nn.adaptive_avg_pool(x, (1, 1)),
        lambda x: x.mean((1, 2), keepdims=True),
        IMAGES,
    ),
    _function(
        "interpolate",
        "bilinear, twice the size",
        "jax.image.resize",
        lambda x: nn.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda x: jax.image.resize(x, (x.shape[0], 32, 32, x.shape[-1]), "bilinear"),
        IMAGES,
    ),
    _function(
        "scaled_dot_product_attention",
        "4 heads, causal",
        "jax.nn.dot_product_attention",
        lambda x: nn.scaled_dot_product_attention(*[jnp.swapaxes(_in_heads(x), 1, 2)] * 3, is_causal=True),
        lambda x: jnp.swapaxes(jax.nn.dot_product_attention(*[_in_heads(x)] * 3, is_causal=True), 1, 2),
        (16, 64, 128),
    ),
    _function(
        "gelu", "", "jax.nn.gelu(approximate=False)", nn.gelu, lambda x: jax.nn.gelu(x, approximate=False), FEATURES
    ),
    _function("silu", "", "jax.nn.silu", nn.silu, jax.nn.silu, FEATURES),
    _function("tanh", "", "jnp.tanh", nn.tanh, jnp.tanh, FEATURES),
    _function("softmax", "", "jax.nn.softmax", nn.softmax, jax.nn.softmax, FEATURES),
    _function("log_softmax", "", "jax.nn.log_softmax", nn.log_softmax, jax.nn.log_softmax, FEATURES),
    _function(
        "normalize",
        "",
        "x / jnp.linalg.norm(x)",
        nn.normalize,
        lambda x: x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12),
        FEATURES,
    ),
]
