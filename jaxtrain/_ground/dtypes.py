"""The precision of all arithmetic: never below float32."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


def at_least_float32(*dtypes: DTypeLike) -> jnp.dtype:
    """The dtype of arithmetic on data of `dtypes`: the dtype to which they promote, or float32 if that is narrower."""
    with jax.numpy_dtype_promotion("standard"):  # The caller converts explicitly, whatever the program's own rule is.
        return jnp.result_type(*dtypes, jnp.float32)


def default_float() -> jnp.dtype:
    """The float type of this program: float32, or float64 under `jax_enable_x64`."""
    return jnp.result_type(float)
