"""Norms of any order, which may be traced."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxtrain._ground.checks import is_concrete

LARGEST_PRODUCT = 8
"""Up to this order, powers are products and square roots if they can be."""


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
        number = float(np.asarray(order))
        if number not in powers and 1 < number <= LARGEST_PRODUCT and (2 * number).is_integer():
            return _by_products(magnitude, number, axis, keepdims)
        return powers.get(number, of_any_power)()
    # Which formula holds is known only when the program runs.
    return jnp.select([power == known for known in powers], [formula() for formula in powers.values()], of_any_power())


def joint_norm(arrays: Sequence[jax.Array], order: ArrayLike) -> jax.Array:
    """The norm of all arrays as one vector; order 0 counts the arrays that are not all zero."""
    if is_concrete(order) and order == 2.0:  # One root for all.
        return _rooted(jnp.sum(jnp.stack([jnp.sum(jnp.square(array)) for array in arrays])), jnp.sqrt)
    return norm(jnp.stack([norm(array, order) for array in arrays]), order)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def _by_products(magnitude: jax.Array, order: float, axis: tuple[int, ...] | None, keepdims: bool) -> jax.Array:
    """The norm of an order that is a multiple of 1/2, without XLA's powers, which err by several ulp on a CPU."""
    total = jnp.sum(_product(magnitude, order), axis, keepdims=keepdims)
    length = _rooted(total, lambda total: total ** (1 / order))
    # A step of Newton's method; far off is only what has overflowed or vanished.
    miss = 1 - _product(length, order) / total
    return jnp.where(jnp.abs(miss) < 1e-3, length + length * miss / order, length)


@_by_products.defjvp
def _by_products_jvp(
    order: float,
    axis: tuple[int, ...] | None,
    keepdims: bool,
    primals: tuple[jax.Array],
    tangents: tuple[jax.Array],
) -> tuple[jax.Array, jax.Array]:
    length = _by_products(*primals, order, axis, keepdims)
    shares = primals[0] / jnp.where(length == 0, 1, length)
    return length, jnp.sum(_product(shares, order - 1) * tangents[0], axis, keepdims=keepdims)


def _product(x: jax.Array, exponent: float) -> jax.Array:
    """`x` to the power of a positive multiple of 1/2."""
    whole = lax.integer_pow(x, int(exponent))
    return whole if exponent.is_integer() else whole * _rooted(x, jnp.sqrt)


def _rooted(total: jax.Array, root: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """`root(total)`, and `total` itself where it is 0 or NaN."""
    positive = total > 0
    return jnp.where(positive, root(jnp.where(positive, total, 1)), total)
