"""Annealing from one value to another, exact to the last digit at both ends.

PyTorch writes the cosine as (1 + cos(π t)) / 2, in which all digits cancel as t nears 1. Here both weights are squared
sines, in which none cancel.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp

Weight = Callable[[jax.Array], jax.Array]


def linear(fraction: jax.Array) -> jax.Array:
    return fraction


def cosine(fraction: jax.Array) -> jax.Array:
    """(1 - cos(π · fraction)) / 2."""
    return jnp.sin(math.pi / 2 * fraction) ** 2


WEIGHTS: Mapping[str, Weight] = MappingProxyType({"cos": cosine, "linear": linear})


def anneal(
    weight: Weight, start: jax.Array | float, end: jax.Array | float, done: jax.Array, total: jax.Array | float
) -> jax.Array:
    """The value after `done` of `total` steps on the way from `start` to `end`."""
    return start * weight((total - done) / total) + end * weight(done / total)
