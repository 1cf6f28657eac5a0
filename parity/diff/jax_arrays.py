"""NumPy's arrays as JAX's."""

from typing import Any

import jax.numpy as jnp
import numpy as np


def to_jax(array: Any, dtype: str) -> Any:
    """JAX's array, in `dtype` if it is a floating one; integers become int32."""
    array = np.asarray(array)
    return jnp.asarray(array, jnp.int32) if np.issubdtype(array.dtype, np.integer) else as_it_is(array, dtype)


def as_it_is(array: Any, dtype: str) -> Any:
    """JAX's array, in `dtype` if it is a floating one."""
    return jnp.asarray(array, dtype if jnp.issubdtype(array.dtype, jnp.floating) else array.dtype)
