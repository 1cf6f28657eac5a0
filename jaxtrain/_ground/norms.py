"""Norms of any order, which may be traced."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxtrain._ground.checks import is_concrete


def norm(array: jax.Array, order: ArrayLike, axes: Sequence[int] | None = None) -> jax.Array:
    """The norm over `axes`, which keep the size 1; over all elements as one vector if `axes` is None.

    Where all elements are zero, so is the derivative.
    """
    magnitude = jnp.abs(array)
    axis, keepdims = (None, False) if axes is None else (tuple(axes), True)
    powers = {
        math.inf: lambda: jnp.max(magnitude, axis, keepdims=keepdims),
        -math.inf: lambda: jnp.min(magnitude, axis, keepdims=keepdims),
        0.0: lambda: jnp.sum(magnitude != 0, axis, magnitude.dtype, keepdims=keepdims),
        1.0: lambda: jnp.sum(magnitude, axis, keepdims=keepdims),
        2.0: lambda: _rooted(jnp.sum(jnp.square(magnitude), axis, keepdims=keepdims), jnp.sqrt),
    }
    power = jnp.asarray(order, array.dtype)

    def of_any_power() -> jax.Array:
        return _rooted(jnp.sum(magnitude**power, axis, keepdims=keepdims), lambda total: total ** (1 / power))

    if is_concrete(order):
        return powers.get(float(np.asarray(order)), of_any_power)()
    # Which formula holds is known only when the program runs.
    return jnp.select([power == known for known in powers], [formula() for formula in powers.values()], of_any_power())


def joint_norm(arrays: Sequence[jax.Array], order: ArrayLike) -> jax.Array:
    """The norm of all arrays as one vector; order 0 counts the arrays that are not all zero."""
    if is_concrete(order) and order == 2.0:  # One root for all.
        return _rooted(jnp.sum(jnp.stack([jnp.sum(jnp.square(array)) for array in arrays])), jnp.sqrt)
    return norm(jnp.stack([norm(array, order) for array in arrays]), order)


def _rooted(total: jax.Array, root: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """`root(total)`, and `total` itself where it is 0 or NaN."""
    positive = total > 0
    return jnp.where(positive, root(jnp.where(positive, total, 1)), total)
