"""Sums as accurate as in float64, without a float64 array as large as what they sum."""

import math

import jax
import jax.numpy as jnp

from jaxtrain._ground.float64 import as_float64

_FEW = 4096
"""Arrays of at most this many elements are summed in float64 alone."""

_SHORT = 64
"""Rows of fewer elements are not worth a partial sum each."""


def float64_sum(values: jax.Array) -> jax.Array:
    """The sum of all elements as a float64 scalar; inside `in_float64` only.

    A large array is summed in two stages: the rows (all elements that share an index of the first axis) in the dtype of
    `values`, then their sums in float64. XLA sums a row in a tree, which errs by about one rounding, and the errors of
    the rows average out. Where rows are short, as in a vector, the whole array is one row. No axis is split or merged,
    so that a sharded array is summed where it lies.
    """
    if not is_small(values):
        first = 0 if is_below(_SHORT, math.prod(values.shape[1:])) else 1
        values = jnp.sum(values, range(first, values.ndim))
    return jnp.sum(as_float64(values))


def is_small(array: jax.Array) -> bool:
    """Whether sums over `array` are cheap in float64; an array of symbolic shape counts as large."""
    return is_below(_FEW + 1, array.size)


def is_below(limit: int, size: int) -> bool:
    """Whether `size` is known to be less than `limit`; a symbolic dimension of `jax.export` is not."""
    return isinstance(size, int) and size < limit
