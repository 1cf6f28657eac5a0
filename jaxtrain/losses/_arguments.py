"""What every loss asks of its arrays, and the precision in which it computes."""

from collections.abc import Collection, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxtrain._ground.dtypes import at_least_float32


def as_floats(where: str, *, integers: Collection[str] = (), **arrays: ArrayLike | None) -> tuple[Any, ...]:
    """Check that each array holds floats, and bring all to the precision of the computation.

    Args:
        where: name of the loss, for the error message.
        integers: names of the arrays that may hold integers as well.
        **arrays: the arguments by name; None stays None.

    Returns:
        The dtype of the result (what the arguments promote to), then the arrays in the dtype of the computation:
        the same, but float32 where it is narrower.

    Raises:
        TypeError: an array holds integers, booleans or complex numbers.
    """
    converted = {name: None if value is None else jnp.asarray(value) for name, value in arrays.items()}
    given = {name: array for name, array in converted.items() if array is not None}
    for name, array in given.items():
        may_be_integers = name in integers
        if not (_is(array, jnp.floating) or (may_be_integers and _is(array, jnp.integer))):
            expected = "floats or integers" if may_be_integers else "floats"
            raise TypeError(f"{where}: {name} must hold {expected}, got {array.dtype}; convert it with .astype")
    dtype = jnp.result_type(*given.values())
    working = working_dtype(dtype)
    return dtype, *(None if array is None else array.astype(working) for array in converted.values())


def working_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype to compute in for a result of `dtype`: never narrower than float32."""
    return at_least_float32(dtype)


def as_classes(where: str, name: str, value: ArrayLike) -> Array:
    """`value` as an array of class indices of at least 32 bits.

    Raises:
        TypeError: it holds anything but signed integers or uint8.
    """
    classes = jnp.asarray(value)
    if not (_is(classes, jnp.signedinteger) or classes.dtype == jnp.uint8):
        raise TypeError(f"{where}: {name} must hold classes as signed integers or uint8, got {classes.dtype}")
    return classes.astype(jnp.promote_types(classes.dtype, jnp.int32))


def as_coefficients(where: str, name: str, value: ArrayLike, shape: Sequence[int], dtype: np.dtype) -> Array:
    """`value` as floats of `dtype` that broadcast to `shape` without enlarging it.

    Raises:
        TypeError: it holds anything but floats.
        ValueError: it does not broadcast to `shape`.
    """
    _, coefficients = as_floats(where, integers=(), **{name: value})
    try:
        fits = np.broadcast_shapes(coefficients.shape, shape) == tuple(shape)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{where}: {name} must broadcast to shape {tuple(shape)}, got shape {coefficients.shape}")
    return coefficients.astype(dtype)


def as_class_weight(where: str, value: ArrayLike | None, classes: int, dtype: np.dtype) -> Array | None:
    """`value` as one float of `dtype` for each of the `classes`; None stays None.

    Raises:
        TypeError: it holds anything but floats.
        ValueError: its shape is not `(classes,)`.
    """
    if value is None:
        return None
    _, weight = as_floats(where, weight=value)
    if weight.shape != (classes,):
        raise ValueError(f"{where}: weight must have one entry for each of {classes} classes, got shape {weight.shape}")
    return weight.astype(dtype)


def check_same_shape(where: str, **arrays: Array | None) -> None:
    """Raise `ValueError` unless all arrays (None is no array) have one shape: nothing is broadcast silently."""
    shapes = {name: array.shape for name, array in arrays.items() if array is not None}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"{where}: expected arrays of one shape, got {listed}; broadcast them on purpose")


def positive_axis(where: str, axis: int, shape: Sequence[int]) -> int:
    """`axis` counted from the front.

    Raises:
        ValueError: `shape` has no such axis, or it is empty.
    """
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"{where}: axis {axis} is the class axis, but input has shape {tuple(shape)}")
    if shape[axis] == 0:
        raise ValueError(f"{where}: input needs at least one class along axis {axis}, got shape {tuple(shape)}")
    return axis % len(shape)


def _is(array: Array, kind: type) -> bool:
    return bool(jnp.issubdtype(array.dtype, kind))
