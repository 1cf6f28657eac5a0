"""Scalars in float64 inside float32 programs.

PyTorch keeps learning rates, bias corrections and schedules in Python floats, which are float64. Computed in float32,
`1 - 0.999**t` loses five digits. `in_float64` is the one place where this package leaves the program's default
precision: it runs a function in float64 under `jit`, `grad`, `vmap` and `scan`, whether or not `jax_enable_x64` is on,
and rounds only the result.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike, DTypeLike


def as_float64(value: ArrayLike) -> jax.Array:
    """`value` as a float64 array; inside `in_float64` only."""
    return lax.convert_element_type(value, jnp.float64)


def returned_number(where: str, name: str, source: str, value: Any, way_out: str = "") -> jax.Array:
    """`value`, which the user's function `source` returned, as a float64 scalar; inside `in_float64` only.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is an array with axes.
    """
    message = f"{where}: {name} must be one number, but {source} returned"
    if hasattr(value, "__jax_array__"):  # A variable of NNX.
        value = jnp.asarray(value)
    if not isinstance(value, int | float | np.generic | np.ndarray | jax.Array) or np.issubdtype(
        jnp.result_type(value), np.complexfloating
    ):
        raise TypeError(f"{message} {value!r}")
    if jnp.ndim(value):
        raise ValueError(f"{message} an array of shape {jnp.shape(value)}{way_out}")
    return as_float64(jnp.asarray(value))


def raised(base: ArrayLike, exponent: ArrayLike) -> jax.Array:
    """`base ** exponent` in float64; inside `in_float64` only.

    The derivative of JAX's power is computed in the default float type of the place where the program is
    differentiated, which fails for a compiled program in float64 if that is float32.
    """
    return _raised(as_float64(base), as_float64(exponent))


@jax.custom_jvp
def _raised(base: jax.Array, exponent: jax.Array) -> jax.Array:
    return base**exponent


@partial(_raised.defjvp, symbolic_zeros=True)
def _derivative_of_raised(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (base, exponent), (of_base, of_exponent) = primals, tangents
    with jax.enable_x64(True):
        result = _raised(base, exponent)
        change = jnp.zeros_like(result)
        # Where one of the two is constant, the other's derivative may be infinite.
        if not isinstance(of_base, SymbolicZero):
            change += exponent * _raised(base, jnp.where(exponent == 0, 1, exponent) - 1) * of_base
        if not isinstance(of_exponent, SymbolicZero):
            change += result * jnp.log(jnp.where(base == 0, 1, base)) * of_exponent
        return result, change


def in_float64(function: Callable[..., Any], *args: Any, dtype: DTypeLike) -> Any:
    """Evaluate `function(*args)` in float64 and round its result once, to `dtype`.

    Args:
        function: any traceable function. Python floats and callables in it are evaluated in float64, too.
        *args: arguments of the function, passed on unchanged.
        dtype: the dtype of the result.

    Returns:
        The result of the function, any pytree: floats in `dtype`, booleans and integers unchanged.
    """
    return in_float64_for({dtype}, function, *args)[dtype]


def in_float64_for(dtypes: Collection[DTypeLike], function: Callable[..., Any], *args: Any) -> dict[DTypeLike, Any]:
    """`in_float64` for several dtypes: one evaluation, and one rounded result for each dtype."""

    def rounded(value: ArrayLike, dtype: DTypeLike) -> jax.Array:
        value = jnp.asarray(value)
        return lax.convert_element_type(value, dtype) if jnp.issubdtype(value.dtype, jnp.floating) else value

    with jax.enable_x64(True):
        result = function(*args)
        return {dtype: jax.tree.map(partial(rounded, dtype=dtype), result) for dtype in dtypes}
