"""Division by a number that the compiler knows."""

import jax
import jax.numpy as jnp
from jax import lax


def divided(values: jax.Array, number: int) -> jax.Array:
    """`values / number`, rounded once.

    XLA multiplies with the rounded inverse of a number that it knows, an error that all values share and that no
    average removes. It does not know this one: where a value is NaN, so is what it is divided by.
    """
    divisor = jnp.where(jnp.isnan(values), values, lax.convert_element_type(number, values.dtype))
    return values / lax.stop_gradient(divisor)
