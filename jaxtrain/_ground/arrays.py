"""Arguments that are arrays."""

import reprlib
from typing import Any

import jax
import jax.numpy as jnp


def as_array(where: str, name: str, value: Any) -> jax.Array:
    """`value` as an array: an array already, numbers in a list, or what converts itself.

    Raises:
        TypeError: if it is nothing of the kind.
    """
    try:
        if value is None:
            raise TypeError
        return jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{where}: {name} must be an array of numbers, got {reprlib.repr(value)}") from error
