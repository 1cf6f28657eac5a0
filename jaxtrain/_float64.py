"""Scalars in float64 inside float32 programs.

PyTorch keeps learning rates, bias corrections and schedules in Python floats, which are float64. Computed in
float32, `1 - 0.999**t` loses five digits. `float64_scalars` is the one place where this package leaves the
program's default precision: everything in it runs in float64 under `jit`, `grad`, `vmap` and `scan`, whether or not
`jax_enable_x64` is on, and only the result is rounded.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike, DTypeLike


def default_float() -> jnp.dtype:
    """The float type of this program: float32, or float64 under `jax_enable_x64`."""
    return jnp.result_type(float)


def as_float64(value: ArrayLike) -> jax.Array:
    """`value` as a float64 array; inside `float64_scalars` only."""
    return lax.convert_element_type(value, jnp.float64)


def float64_scalars(function: Callable[..., Any], *args: Any, dtypes: set[DTypeLike]) -> dict[DTypeLike, Any]:
    """Evaluate `function(*args)` in float64 and round its result once to each of `dtypes`.

    Args:
        function: any traceable function. Python floats and callables in it are evaluated in float64, too.
        *args: its arguments, handed over as they are.
        dtypes: the dtypes in which the result is wanted.

    Returns:
        For each dtype the function's result (any pytree): floats in that dtype, booleans and integers unchanged.
    """

    def rounded(value: ArrayLike, dtype: DTypeLike) -> jax.Array:
        value = jnp.asarray(value)
        return lax.convert_element_type(value, dtype) if jnp.issubdtype(value.dtype, jnp.floating) else value

    with jax.enable_x64(True):
        result = function(*args)
        return {dtype: jax.tree.map(partial(rounded, dtype=dtype), result) for dtype in dtypes}
