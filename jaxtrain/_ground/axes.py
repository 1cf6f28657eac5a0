"""Axes of arrays: all but some, and vectors along one of them."""

import jax
import jax.numpy as jnp


def other_axes(ndim: int, *axes: int) -> tuple[int, ...]:
    """All axes of an array with `ndim` dimensions except `axes`, which count from the front."""
    return tuple(axis for axis in range(ndim) if axis not in axes)


def along_axis(vector: jax.Array, axis: int, ndim: int) -> jax.Array:
    """Reshape `vector` to broadcast along `axis` of an array with `ndim` dimensions."""
    return jnp.expand_dims(vector, other_axes(ndim, axis))
