"""Hyper-parameters of an optimizer: checked once, evaluated in float64 at every step."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxtrain._ground.checks import check_length, check_scalar
from jaxtrain._ground.float64 import as_float64
from jaxtrain._ground.ranges import Interval

Schedule: TypeAlias = Callable[[jax.Array], jax.Array]
Hyperparameter: TypeAlias = ArrayLike | Schedule
Ranges: TypeAlias = Mapping[str, Interval | tuple[Interval, ...]]


def checked(optimizer: str, ranges: Ranges, given: Mapping[str, Any]) -> dict[str, Any]:
    """`given`, with a tuple for every argument whose range is one.

    Raises:
        TypeError: if a value is neither a number nor an array nor a schedule.
        ValueError: if a number is out of its range, an array has axes, or a tuple has another length.
    """
    found: dict[str, Any] = {}
    for name, interval in ranges.items():
        if isinstance(interval, Interval):
            found[name] = given[name]
            _check(optimizer, name, given[name], interval)
        else:
            found[name] = check_length(optimizer, name, given[name], len(interval))
            for index, (value, own) in enumerate(zip(found[name], interval, strict=True)):
                _check(optimizer, f"{name}[{index}]", value, own)
    return found


def _check(optimizer: str, name: str, value: Any, interval: Interval) -> None:
    if value is None and interval.or_none:
        return
    check_scalar(
        optimizer,
        name,
        value,
        interval.low,
        interval.high,
        open_low=interval.open_low,
        open_high=interval.open_high,
    )


def at_count(optimizer: str, given: Mapping[str, Any], count: jax.Array) -> dict[str, Any]:
    """Every hyper-parameter as a float64 scalar, schedules called with the count; inside `in_float64` only.

    Raises:
        ValueError: if a schedule returns an array with axes.
    """

    def number(name: str, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(number(f"{name}[{index}]", element) for index, element in enumerate(value))
        if value is None:
            return None
        current: Any = value(count) if callable(value) else value
        result = as_float64(current)
        if jnp.ndim(result):
            raise ValueError(
                f"{optimizer}: {name} must be one number, but its schedule returned an array of shape "
                f"{jnp.shape(result)}; optim.param_groups gives parameters different numbers"
            )
        return result

    return {name: number(name, value) for name, value in given.items()}


def namespace(values: Mapping[str, Any]) -> Any:
    """The values as attributes, so that an algorithm reads like its formula."""
    return SimpleNamespace(**values)
