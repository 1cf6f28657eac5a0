"""Checks of hyper-parameters. Errors say what was expected, what was given, and how to fix it."""

import math
from collections.abc import Collection
from typing import Any

import jax
import numpy as np
from jax.core import Tracer


def is_concrete(value: Any) -> bool:
    """Whether the number `value` is known now: neither traced nor a schedule."""
    return not callable(value) and not isinstance(value, Tracer)


def is_zero(value: Any) -> bool:
    """Whether `value` is a plain Python zero, so that the program can omit the feature that it controls.

    An array of zero is not, even if it is concrete: in the same program `optax.inject_hyperparams` may change it later.
    """
    return isinstance(value, int | float) and value == 0


def check_range(
    where: str,
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Raise unless every number in `value` lies between `low` and `high` (NaN never does).

    Traced arrays and schedules are not checked.
    """
    if not is_concrete(value):
        return
    try:
        if value is None or isinstance(value, str | bytes) or np.iscomplexobj(value):
            raise TypeError  # NumPy would read a number out of it
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{where}: {name} must be a number, an array or a schedule, got {value!r}") from None
    above = numbers > low if open_low else numbers >= low
    below = numbers < high if open_high else numbers <= high
    if not np.all(above & below):
        interval = f"{'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
        raise ValueError(f"{where}: {name} must lie in {interval}, got {value!r}")


def check_scalar(
    where: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf, **ends: bool
) -> None:
    """`check_range` of one number: an array with axes is refused, even if it is traced."""
    check_range(where, name, value, low, high, **ends)
    if not callable(value) and np.ndim(value):
        raise ValueError(f"{where}: {name} must be one number, got an array of shape {np.shape(value)}")


def check_number(
    where: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf, **ends: bool
) -> None:
    """`check_scalar` of what cannot be a schedule."""
    if callable(value) and not hasattr(value, "__jax_array__"):  # A variable of NNX can be called.
        raise TypeError(
            f"{where}: {name} must be a number, not a schedule or function, got {value!r}; call it first, or let "
            "optax.inject_hyperparams do so at every update"
        )
    if value is None or isinstance(value, str | bytes):
        raise TypeError(f"{where}: {name} must be a number, got {value!r}")
    check_scalar(where, name, value, low, high, **ends)


def check_flag(where: str, name: str, value: Any) -> None:
    """Raise unless `value` is True or False; a string such as "False" would count as true."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{where}: {name} must be True or False, got {value!r}")


def check_length(where: str, name: str, value: Any, length: int) -> tuple[Any, ...]:
    """`value` as a tuple; raise unless it is a sequence or an array of `length` elements."""
    elements = tuple(value) if np.iterable(value) and not isinstance(value, str) else None
    if elements is None:
        raise TypeError(f"{where}: {name} must be a tuple of {length} numbers, got {value!r}")
    if len(elements) != length:
        raise ValueError(f"{where}: {name} must be a tuple of {length} numbers, got {len(elements)}: {value!r}")
    return elements


def check_choice(where: str, name: str, value: Any, choices: Collection[Any]) -> None:
    """Raise `ValueError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{where}: {name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_integer(where: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> int:
    """`value` as an `int`; raise unless it is an integer (and not a bool) from `low` to `high`."""
    if isinstance(value, Tracer):
        raise TypeError(
            f"{where}: {name} must be an integer that is known when the program is traced, got {value}; name it in "
            "static_argnames of jax.jit, or in static_args of optax.inject_hyperparams"
        )
    if isinstance(value, jax.Array | np.ndarray) and value.ndim == 0:
        value = value[()].item()
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{where}: {name} must be an integer, got {value!r}")
    if not low <= value <= high:
        interval = f"from {low} to {high}" if high < math.inf else f"at least {low}"
        raise ValueError(f"{where}: {name} must be {interval}, got {value}")
    return int(value)
