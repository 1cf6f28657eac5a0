"""Parameters spread over an array, whose gradients are sums over it."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType

from jaxtrain._ground.float64 import as_float64
from jaxtrain._ground.sums import is_below, is_small

_MANY = 65_536
"""Arrays of at least this many elements are summed in float32 alone: XLA does it well, and stages would cost time."""


def spread(vector: jax.Array, like: jax.Array, share: int = 1) -> jax.Array:
    """`vector / share` in the shape of `like`; its gradient, a sum over the axes of size one, is summed in stages.

    One float32 sum over examples and positions errs up to four times as much as PyTorch's. Here the innermost of these
    axes is summed in float32 and the others in float64, and a small array in float64 alone. Large arrays stay one sum,
    as do single axes, and arrays over meshes with explicit axes, where a broadcast needs a sharding.

    Args:
        vector: array of float32 with as many dimensions as `like`, or any other array, which keeps its shape.
        like: array of the shape to reach.
        share: the divisor. With stages it divides in float64: the compiler multiplies with the rounded inverse of a
            constant, an error that no averaging removes.
    """
    summed = [axis for axis in range(vector.ndim) if _is_one(vector.shape[axis]) and not _is_one(like.shape[axis])]
    is_explicit = AxisType.Explicit in jax.typeof(like).sharding.mesh.axis_types
    in_stages = vector.dtype == jnp.float32 and not is_explicit and is_below(_MANY, like.size)
    if not in_stages or len(summed) < (1 if is_small(like) else 2):
        return vector if _is_one(share) else vector / lax.convert_element_type(share, vector.dtype)
    shape = list(like.shape)
    if not is_small(like):
        shape[summed[-1]] = 1
    with jax.enable_x64(True):
        wide = jnp.broadcast_to(as_float64(vector) / share, shape)
        return jnp.broadcast_to(lax.convert_element_type(wide, jnp.float32), like.shape)


def _is_one(size: int) -> bool:
    """Whether a size is known to be one; a symbolic size of `jax.export` is not."""
    return isinstance(size, int) and size == 1
