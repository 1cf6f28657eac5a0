"""Axes of arrays: all but some, vectors along one of them, and one element of each row along one."""

from functools import partial
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


def is_at(index: jax.Array, axis: int, size: int) -> jax.Array:
    """Whether each element of an array with `size` elements along `axis` is the one at its row's `index`.

    The dtype of `index` must hold `size`.
    """
    index = jnp.expand_dims(index, axis)
    return index == along_axis(jnp.arange(size, dtype=index.dtype), axis % index.ndim, index.ndim)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def pick(values: jax.Array, index: jax.Array, axis: int) -> jax.Array:
    """The element of each row along `axis` at the row's `index`, which must be in range.

    On a CPU its gradient is a scatter, which touches one element of each row. Elsewhere it is a comparison, which XLA
    merges with the arithmetic around it where a scatter would be several kernels.
    """
    return _indexed(values, index, axis)


def _indexed(values: jax.Array, index: jax.Array, axis: int) -> jax.Array:
    picked = jnp.take_along_axis(values, jnp.expand_dims(index, axis), axis, mode="promise_in_bounds")
    return jnp.squeeze(picked, axis)


def _compared(values: jax.Array, index: jax.Array, axis: int) -> jax.Array:
    return jnp.sum(jnp.where(is_at(index, axis, values.shape[axis]), values, 0), axis)


@pick.defjvp
def _pick_jvp(axis: int, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (values, index), (change, _) = primals, tangents
    indexed, compared = partial(_indexed, axis=axis), partial(_compared, axis=axis)
    return pick(values, index, axis), jax.lax.platform_dependent(change, index, cpu=indexed, default=compared)
