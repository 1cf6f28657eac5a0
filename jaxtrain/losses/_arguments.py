"""Checks of the arguments of losses, and the precision in which losses compute."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxtrain._ground.arrays import as_array
from jaxtrain._ground.checks import check_integer, check_scalar
from jaxtrain._ground.dtypes import at_least_float32

_INT32 = np.iinfo(np.int32)


def as_floats(where: str, name: str, value: ArrayLike) -> Array:
    """`value` as an array.

    Raises:
        TypeError: if it does not hold floats.
    """
    array = as_array(where, name, value)
    if not _is(array, jnp.floating):
        raise TypeError(f"{where}: {name} must hold floats, got {array.dtype}; convert it with .astype")
    return array


def as_numbers(where: str, name: str, value: ArrayLike) -> Array:
    """`value` as an array.

    Raises:
        TypeError: if it holds neither floats nor integers.
    """
    array = as_array(where, name, value)
    if not (_is(array, jnp.floating) or _is(array, jnp.integer)):
        raise TypeError(f"{where}: {name} must hold floats or integers, got {array.dtype}; convert it with .astype")
    return array


def as_classes(where: str, name: str, value: ArrayLike) -> Array:
    """`value` as an array of class indices of at least 32 bits.

    Raises:
        TypeError: if it holds anything but signed integers or uint8.
    """
    classes = as_array(where, name, value)
    if not (_is(classes, jnp.signedinteger) or classes.dtype == jnp.uint8):
        raise TypeError(f"{where}: {name} must hold classes as signed integers or uint8, got {classes.dtype}")
    return classes if classes.dtype.itemsize >= 4 else classes.astype(jnp.int32)


def as_coefficients(where: str, name: str, value: ArrayLike, like: Array) -> Array:
    """`value` as floats of the dtype of `like` that broadcast to its shape without enlarging it.

    Raises:
        TypeError: if it does not hold floats.
        ValueError: if it does not broadcast to the shape of `like`.
    """
    coefficients = as_floats(where, name, value)
    meeting = zip(coefficients.shape[::-1], like.shape[::-1], strict=False)
    fits = coefficients.ndim <= like.ndim and all(size in (1, full) for size, full in meeting)
    if not fits:
        raise ValueError(f"{where}: {name} must broadcast to shape {like.shape}, got shape {coefficients.shape}")
    return jnp.expand_dims(coefficients, range(like.ndim - coefficients.ndim)).astype(like.dtype)


def as_class_weight(where: str, value: ArrayLike | None, classes: int, dtype: np.dtype) -> Array | None:
    """`value` as one float of `dtype` for each of the `classes`; None stays None.

    Raises:
        TypeError: if it does not hold floats.
        ValueError: if its shape is not `(classes,)`.
    """
    if value is None:
        return None
    weight = as_floats(where, "weight", value)
    if weight.shape != (classes,):
        raise ValueError(f"{where}: weight must have one entry for each of {classes} classes, got shape {weight.shape}")
    return weight.astype(dtype)


def promoted(*arrays: Array | None) -> tuple[np.dtype, list[Any]]:
    """The dtype of the result, to which the floats among `arrays` promote, and all arrays in the dtype to compute in.

    Both dtypes are the same, except that computations are in float32 where the result is narrower. None stays None.
    """
    dtype = jnp.result_type(*(array for array in arrays if array is not None and _is(array, jnp.floating)))
    working = at_least_float32(dtype)
    return dtype, [None if array is None else array.astype(working) for array in arrays]


def check_same_shape(where: str, **arrays: Array | None) -> None:
    """Raise `ValueError` unless all arrays that are not None have one shape: nothing is broadcast silently."""
    shapes = {name: array.shape for name, array in arrays.items() if array is not None}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"{where}: expected arrays of one shape, got {listed}; broadcast them explicitly")


def check_number(where: str, name: str, value: Any, low: float = -np.inf, high: float = np.inf, **ends: bool) -> None:
    """Raise unless `value` is one number from `low` to `high`; of a traced number only the shape is checked."""
    if hasattr(value, "__jax_array__"):
        value = jnp.asarray(value)  # A variable of NNX, which can be called but is not a schedule.
    if callable(value):
        raise TypeError(f"{where}: {name} must be a number, got {value!r}; losses take no schedules, so call it first")
    if value is None or isinstance(value, str):
        raise TypeError(f"{where}: {name} must be a number, got {value!r}")
    check_scalar(where, name, value, low, high, **ends)


def check_class_number(where: str, name: str, value: Any) -> None:
    """Raise unless `value` is one integer, which may be traced."""
    if not isinstance(value, Array):
        check_integer(where, name, value, low=_INT32.min, high=_INT32.max)
    elif value.ndim or not _is(value, jnp.integer):
        raise TypeError(f"{where}: {name} must be an integer, got {value!r}")


def class_axis(where: str, axis: int, shape: Sequence[int]) -> int:
    """`axis` counted from the front.

    Raises:
        ValueError: if `shape` has no such axis, or its length is 0.
    """
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"{where}: axis {axis} is the class axis, but input has shape {tuple(shape)}")
    if shape[axis] == 0:
        raise ValueError(f"{where}: input needs at least one class along axis {axis}, got shape {tuple(shape)}")
    return axis % len(shape)


def _is(array: Array, kind: type) -> bool:
    return bool(jnp.issubdtype(array.dtype, kind))
