"""Intentional deviations of layers."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx

from jaxtrain import nn
from parity.deviations.deviation import Deviation


def dropped_infinity(function: Callable, infinities: Any) -> Any:
    """How many of many dropped infinities become NaN."""
    return np.isnan(np.asarray(function(infinities))).mean().round(1)


def table_after_lookup() -> jax.Array:
    """A row of norm √18 after it was looked up with `max_norm=1`."""
    layer = nn.Embedding(2, 2, max_norm=1.0, rngs=nnx.Rngs(0))
    layer.embedding.set_value(jnp.full((2, 2), 3.0))
    layer(jnp.zeros(1, int))
    return layer.embedding[...][0]


def torch_table_after_lookup() -> torch.Tensor:
    layer = torch.nn.Embedding.from_pretrained(torch.full((2, 2), 3.0), max_norm=1.0)
    layer(torch.zeros(1, dtype=torch.long))
    return layer.weight[0]


def weight_of_ignored_key() -> jax.Array:
    """The weight of the only key of a sequence, which is to be ignored."""
    x = jnp.ones((1, 1, 2))
    layer = nn.MultiheadAttention(2, 1, rngs=nnx.Rngs(0))
    return jnp.ravel(layer(x, x, x, key_padding_mask=jnp.ones((1, 1), bool))[1])[0]


def torch_weight_of_ignored_key() -> torch.Tensor:
    x = torch.ones(1, 1, 2)
    return torch.nn.MultiheadAttention(2, 1)(x, x, x, key_padding_mask=torch.ones(1, 1, dtype=torch.bool))[1][0, 0, 0]


def gradient_of_bag() -> jax.Array:
    """The gradient of row 1 of the bag [0, 0, 1] of ones, scaled by frequency."""
    bag = jnp.array([[0, 0, 1]])
    return jax.grad(lambda w: nn.embedding_bag(bag, w, mode="sum", scale_grad_by_freq=True).sum())(jnp.ones((2, 1)))[1]


def torch_gradient_of_bag() -> Any:
    table = torch.ones(2, 1, requires_grad=True)
    F.embedding_bag(torch.tensor([[0, 0, 1]]), table, mode="sum", scale_grad_by_freq=True).sum().backward()
    assert table.grad is not None
    return table.grad[1]


DEVIATIONS: list[Deviation] = [
    Deviation(
        "nn.embedding_bag",
        "gradient of row 1 in the bag [0, 0, 1], `scale_grad_by_freq`",
        "row 1 was looked up once; PyTorch divides by the look-ups of another row",
        gradient_of_bag,
        torch_gradient_of_bag,
    ),
    Deviation(
        "nn.hardswish",
        "hardswish(-∞)",
        "the limit is 0",
        lambda: nn.hardswish(jnp.array(-jnp.inf)),
        lambda: F.hardswish(torch.tensor(-math.inf)),
    ),
    Deviation(
        "nn.dropout",
        "share of NaN when infinities are dropped, p = 0.5",
        "a dropped element is 0, even if it was infinite",
        lambda: dropped_infinity(lambda x: nn.dropout(x, 0.5, key=jax.random.key(0)), jnp.full(10_000, jnp.inf)),
        lambda: dropped_infinity(lambda x: F.dropout(x, 0.5), torch.full((10_000,), math.inf)),
    ),
    Deviation(
        "nn.embedding",
        "row 7 of 3",
        "compiled code cannot raise",
        lambda: nn.embedding(jnp.array([7]), jnp.ones((3, 2)))[0],
        lambda: F.embedding(torch.tensor([7]), torch.ones(3, 2))[0],
    ),
    Deviation(
        "nn.Embedding",
        "the table after a lookup of [3, 3] with `max_norm=1`",
        "a layer in use does not change its parameters; what it returns is the same",
        table_after_lookup,
        torch_table_after_lookup,
    ),
    Deviation(
        "nn.MultiheadAttention",
        "the weight of a key, if all keys are to be ignored",
        "a padded example should not destroy the parameters; without the weights PyTorch agrees",
        weight_of_ignored_key,
        torch_weight_of_ignored_key,
    ),
]
