"""Problems that rounding takes further than all others.

A line search compares losses and slopes that may be nearly equal, and a curvature may be the difference of nearly equal
gradients; a parameter that is pulled to zero may swing about it; steps that multiply by the same matrix may amplify an
error. On such a problem right implementations part, by up to thousands of the errors that they make elsewhere. So it
says nothing about the others, and its own measure is PyTorch on that problem, with a rounding after every operation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from parity.precision import Draw, pooled
from parity.references.rounded_operations import RoundedOperations
from parity.trace import Quantity, Trace
from parity.verdicts import Measurement, errors, largest_normal

RUNS = 100
"""How often PyTorch runs with other roundings, unless it goes as far before."""

Where = Mapping[Quantity, Any]
"""A part of a trace: an index into each of its arrays, whose first axis may be sliced only."""


@dataclass(frozen=True)
class Problem:
    """A part of a draw that has nothing to do with the rest.

    Attributes:
        where: the part.
        run: PyTorch in float64, on this part alone.
    """

    where: Where
    run: Callable[[], Trace]


def row_at_all_steps(run: Callable[[str], Trace], quantity: Quantity, at: tuple[int, ...]) -> Problem:
    """An element of a parameter and its neighbours along the last axis, at all steps of an optimizer.

    Where the gradient is little but weight decay, a parameter swings about zero with steps of the learning rate.

    Args:
        run: PyTorch in a dtype, on everything.
        quantity: of the element.
        at: where the element is; the first index is its step.
    """
    where = {quantity: (slice(None), *(slice(index, index + 1) for index in at[1:-1]))}
    return Problem(where, lambda: part(run("float64"), where))


def judged_apart(
    draws: list[Draw],
    judge: Callable[[Sequence[Draw]], Measurement],
    problem: Callable[[int, Draw, Quantity, tuple[int, ...]], Problem],
    factor: float,
    dtype: str,
) -> tuple[list[Draw], Measurement]:
    """The draws and the verdicts on them, without the problems on which rounding alone takes PyTorch as far as ours.

    Only those are tried whose errors are too large for normal ones.

    Args:
        draws: for the formula, and then those for the precision.
        judge: the verdicts.
        problem: `problem(number, draw, quantity, at)` is the one with this element of the draw that has this number.
        factor: how many times PyTorch's error ours may be.
        dtype: the precision.
    """
    measurement = judge(draws)
    while len(draws) > 1 and measurement.difference:
        quantity = measurement.difference.quantity
        found = outlier(draws[1:], quantity, factor, dtype)
        if not found:
            break
        number, at = found
        draw = draws[1 + number]
        alone = problem(number, draw, quantity, at)
        if not is_by_rounding(draw, alone, factor, dtype):
            break
        draws = [*draws[: 1 + number], without(draw, alone.where), *draws[2 + number :]]
        measurement = judge(draws)
    return draws, measurement


def outlier(draws: Sequence[Draw], quantity: Quantity, factor: float, dtype: str) -> tuple[int, tuple[int, ...]] | None:
    """The draw and the element with our largest error, if a normal one with PyTorch's mean square is not so large."""
    suspects = [
        pool
        for (other, _), pool in pooled(draws, dtype).items()
        if other == quantity and pool.largest > factor * largest_normal(pool.expected, pool.count)
    ]
    if not suspects:
        return None
    worst = max(suspects, key=lambda pool: pool.largest).worst
    assert worst is not None  # A pool with an error knows the largest.
    at = (worst.step or 0, *worst.index)
    return int(np.argmax([_errors(draw, draw.ours or {}, quantity)[at] for draw in draws])), at


def is_by_rounding(draw: Draw, problem: Problem, factor: float, dtype: str) -> bool:
    """Whether PyTorch with a rounding after every operation goes as far as ours in all rows of a problem.

    Args:
        draw: what both sides computed.
        problem: of the draw.
        factor: how many times the largest error of these runs ours may be.
        dtype: the precision of the roundings.
    """
    own = Draw(truth=part(draw.truth, problem.where), units=part(draw.units, problem.where))
    ours = part(draw.ours or {}, problem.where)
    found = {quantity: by_row(own, ours, quantity) for quantity in own.truth}
    largest = {quantity: np.zeros_like(each) for quantity, each in found.items()}
    for seed in range(RUNS):
        with RoundedOperations(dtype, seed):
            moved = problem.run()
        for quantity, before in largest.items():
            further = by_row(own, moved, quantity)
            largest[quantity] = np.maximum(before, np.where(np.isfinite(further), further, 0.0))
        if all((each <= factor * largest[quantity]).all() for quantity, each in found.items()):
            return True
    return False


def by_row(draw: Draw, found: Trace, quantity: Quantity) -> np.ndarray:
    """The largest error of each row, given what one side found."""
    return _errors(draw, found, quantity).reshape(len(draw.truth[quantity]), -1).max(axis=1)


def _errors(draw: Draw, found: Trace, quantity: Quantity) -> np.ndarray:
    return errors(found[quantity], draw.truth[quantity], draw.units[quantity])


def part(trace: Trace, where: Where) -> Trace:
    return {quantity: trace[quantity][index] for quantity, index in where.items()}


def without(draw: Draw, where: Where) -> Draw:
    """The draw without a part: it is NaN on both sides and in the truth, which the judge counts as equal."""
    sides = {name: getattr(draw, name) for name in ("truth", "ours", "torch", "moved")}
    return replace(draw, **{name: _blank(trace, where) for name, trace in sides.items() if trace is not None})


def _blank(trace: Trace, where: Where) -> Trace:
    blank = {quantity: values.copy() if quantity in where else values for quantity, values in trace.items()}
    for quantity, index in where.items():
        if quantity in blank:
            blank[quantity][index] = np.nan
    return blank
