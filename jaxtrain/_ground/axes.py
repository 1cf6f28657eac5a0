"""Axes of arrays: all but some, and vectors along one of them."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec


def other_axes(ndim: int, *axes: int) -> tuple[int, ...]:
    """All axes of an array with `ndim` dimensions except `axes`, which count from the front."""
    return tuple(axis for axis in range(ndim) if axis not in axes)


def along_axis(vector: jax.Array, axis: int, ndim: int) -> jax.Array:
    """Reshape `vector` to broadcast along `axis` of an array with `ndim` dimensions."""
    return jnp.expand_dims(vector, other_axes(ndim, axis))


def entries(table: jax.Array, index: jax.Array, **options: Any) -> jax.Array:
    """`table[index]`; over a mesh with explicit axes, the result lies where the indices do.

    Args:
        table: array that is looked up along its first axis.
        index: array of integers.
        **options: of `table.at[index].get`.
    """
    sharding = jax.typeof(index).sharding
    if AxisType.Explicit in sharding.mesh.axis_types:
        options["out_sharding"] = PartitionSpec(*sharding.spec, *jax.typeof(table).sharding.spec[1:])
    return table.at[index].get(**options)
