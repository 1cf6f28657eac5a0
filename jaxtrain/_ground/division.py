"""Division by a number that the compiler knows."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxtrain._ground.float64 import as_float64, in_float64


def divided(values: jax.Array, number: int) -> jax.Array:
    """`values / number`, without an error that all values share.

    XLA multiplies with the rounded inverse of a number that it knows; no average removes that rounding. Here float32
    values are multiplied with the inverse in two parts: about 1 - 2⁻¹² of it, and the rest, whose product is large
    enough to be rounded differently for every value. Both are above 0, so that infinity stays infinity.
    """
    if values.dtype != jnp.float32 or _is_power_of_two(number):
        return values / lax.convert_element_type(number, values.dtype)

    def parts() -> tuple[jax.Array, jax.Array]:
        inverse = 1 / as_float64(number)
        most = lax.convert_element_type((1 - 2**-12) * inverse, jnp.float32)
        return most, inverse - as_float64(most)

    most, rest = in_float64(parts, dtype=jnp.float32)
    return values * most + values * rest


def _is_power_of_two(number: int) -> bool:
    return isinstance(number, int) and number & (number - 1) == 0
