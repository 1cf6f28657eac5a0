"""The values that a sweep tries."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

Values = dict[str, np.ndarray]
"""For each hyper-parameter one value for each run."""


def grid(**values: ArrayLike) -> Values:
    """All combinations of the values of several hyper-parameters.

    Args:
        **values: for each hyper-parameter an array of the values to try, shape (n,), n at least 1.

    Returns:
        For each hyper-parameter an array with one value for each combination; the last one changes fastest.

    Raises:
        TypeError: if values are not numbers.
        ValueError: if there are none, or an array does not have exactly one axis.

    Example:
        >>> from jaxtrain import tune
        >>> tune.grid(lr=[0.1, 0.2], seed=[0, 1, 2])
        {'lr': array([0.1, 0.1, 0.1, 0.2, 0.2, 0.2]), 'seed': array([0, 1, 2, 0, 1, 2])}

    PyTorch: none; nested loops, or `sklearn.model_selection.ParameterGrid`.
    """
    arrays = {name: _numbers("grid", name, given) for name, given in values.items()}
    if not arrays:
        raise ValueError("grid: expected at least one hyper-parameter, got none; call grid(lr=[0.1, 0.2])")
    columns = np.meshgrid(*arrays.values(), indexing="ij")
    return {name: column.ravel() for name, column in zip(arrays, columns, strict=True)}


def check_values(where: str, values: Any) -> Values:
    """`values` as arrays; raise unless they are numbers, equally many for each hyper-parameter."""
    if not isinstance(values, Mapping) or not values:
        raise TypeError(
            f"{where}: values must be a dict with the values of at least one hyper-parameter, got {values!r}; pass "
            '{"lr": [0.1, 0.2]}'
        )
    if unnamed := [name for name in values if not isinstance(name, str)]:
        raise TypeError(f"{where}: names of hyper-parameters must be strings, got {unnamed[0]!r}")
    arrays = {name: _numbers(where, name, given) for name, given in values.items()}
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"{where}: expected equally many values for each hyper-parameter, got {counts}; for all combinations pass "
            "jaxtrain.tune.grid(...)"
        )
    return arrays


def _numbers(where: str, name: str, given: Any) -> np.ndarray:
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{where}: values of {name} must be real numbers, got {given!r}") from error
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise TypeError(
            f"{where}: values of {name} must be real numbers, got {given!r}; what is not a number, or decides a shape, "
            "needs a sweep for each value"
        )
    if jnp.issubdtype(array.dtype, jnp.integer) and len(array.ravel()):
        limits = jnp.iinfo(jnp.asarray(0).dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise ValueError(
                f"{where}: values of {name} must be from {limits.min} to {limits.max}, the integers of JAX without "
                f"jax_enable_x64, got {array.min()} to {array.max()}"
            )
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{where}: values of {name} must be an array of at least one number, got shape {array.shape}")
    return array


def weak(array: np.ndarray) -> Array:
    """The numbers as a weakly typed array: like a Python number, it takes the dtype of the arrays that it meets.

    A float32 rate would make the parameters of a bfloat16 network float32.
    """
    zero = np.zeros((), array.dtype).item()
    return jnp.full(array.shape, zero).at[:].set(array)


def value_of(values: Values, run: int) -> dict[str, float | int]:
    """The hyper-parameters of one run, as Python numbers."""
    return {name: array[run].item() for name, array in values.items()}
