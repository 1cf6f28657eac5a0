"""Hyper-parameters of an optimizer: checked once, evaluated in float64 at every step."""

from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, TypeAlias

import jax
from jax.typing import ArrayLike

from jaxtrain._ground.checks import check_length, check_scalar
from jaxtrain._ground.float64 import as_float64, returned_number
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
    if name == "lr":
        check_rate(optimizer, value)
    check_scalar(
        optimizer,
        name,
        value,
        interval.low,
        interval.high,
        open_low=interval.open_low,
        open_high=interval.open_high,
    )


def check_rate(optimizer: str, lr: Any) -> None:
    """Raise `TypeError` if parameters or a model come first, as in PyTorch, in place of the learning rate."""
    groups = isinstance(lr, list | tuple) and any(isinstance(element, Mapping) for element in lr)
    if groups or isinstance(lr, Iterator) or hasattr(lr, "parameters") or _is_tree_of_arrays(lr):
        raise TypeError(
            f"{optimizer}: lr must be a number, an array or a schedule, got {type(lr).__name__}; parameters come "
            f"later: optimizer = optim.{optimizer}(1e-3), state = optimizer.init(params); optim.param_groups makes "
            "groups"
        )


def _is_tree_of_arrays(value: Any) -> bool:
    """Whether `value` holds arrays with axes, as a model does. A partial function is a schedule, whatever it holds."""
    if isinstance(value, jax.tree_util.Partial) or jax.tree_util.treedef_is_leaf(jax.tree.structure(value)):
        return False
    return any(getattr(leaf, "ndim", 0) for leaf in jax.tree.leaves(value))


def at_count(optimizer: str, given: Mapping[str, Any], count: jax.Array) -> dict[str, Any]:
    """Every hyper-parameter as a float64 scalar, schedules called with the count; inside `in_float64` only.

    Raises:
        TypeError: if a schedule returns something else than a number.
        ValueError: if it returns an array with axes.
    """

    def number(name: str, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(number(f"{name}[{index}]", element) for index, element in enumerate(value))
        if value is None:
            return None
        if not callable(value):
            return as_float64(value)
        way_out = "; optim.param_groups gives parameters different numbers"
        return returned_number(optimizer, name, "its schedule", value(count), way_out)

    return {name: number(name, value) for name, value in given.items()}


def namespace(values: Mapping[str, Any]) -> Any:
    """The values as attributes, so that an algorithm reads like its formula."""
    return SimpleNamespace(**values)
