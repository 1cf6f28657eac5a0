"""The precision in which everything computes: never below float32."""

import jax.numpy as jnp
from jax.typing import DTypeLike


def at_least_float32(*dtypes: DTypeLike) -> jnp.dtype:
    """The dtype to compute in for data of `dtypes`: what they promote to, but float32 where that is narrower."""
    return jnp.result_type(*dtypes, jnp.float32)


def default_float() -> jnp.dtype:
    """The float type of this program: float32, or float64 under `jax_enable_x64`."""
    return jnp.result_type(float)
