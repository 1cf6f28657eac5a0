"""Problems that rounding takes further than all others.

A line search compares losses and slopes that may be nearly equal, and a curvature may be the difference of nearly equal
gradients. On such a problem right implementations part, by thousands of the errors that they make elsewhere. So it says
nothing about the others, and its own measure is PyTorch on that problem, with a rounding after every operation.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from parity.precision import Draw, pooled
from parity.references.rounded_operations import RoundedOperations
from parity.trace import Quantity, Trace
from parity.verdicts import errors, largest_normal

RUNS = 100
"""How often PyTorch runs with other roundings, unless it goes as far before."""


def outlier(draws: Sequence[Draw], quantity: Quantity, factor: float, dtype: str) -> tuple[int, int] | None:
    """The draw and the row with our largest error, if a normal one with PyTorch's mean square is not so large."""
    [pool] = [pool for (other, _), pool in pooled(draws, dtype).items() if other == quantity]
    if pool.largest <= factor * largest_normal(pool.expected, pool.count):
        return None
    largest = [by_row(draw, draw.ours or {}, quantity) for draw in draws]
    number = int(np.argmax([each.max() for each in largest]))
    return number, int(np.argmax(largest[number]))


def is_by_rounding(draw: Draw, rows: slice, run: Callable[[], Trace], factor: float, dtype: str) -> bool:
    """Whether PyTorch with a rounding after every operation goes as far as ours in all rows of a problem.

    Args:
        draw: what both sides computed.
        rows: of the problem.
        run: PyTorch in float64 on this problem alone.
        factor: how many times the largest error of these runs ours may be.
        dtype: the precision of the roundings.
    """
    own = Draw(truth=part(draw.truth, rows), units=part(draw.units, rows), ours=part(draw.ours or {}, rows))
    ours = {quantity: by_row(own, own.ours or {}, quantity) for quantity in own.truth}
    largest = {quantity: np.zeros_like(each) for quantity, each in ours.items()}
    for seed in range(RUNS):
        with RoundedOperations(dtype, seed):
            moved = run()
        for quantity, before in largest.items():
            found = by_row(own, moved, quantity)
            largest[quantity] = np.maximum(before, np.where(np.isfinite(found), found, 0.0))
        if all((each <= factor * largest[quantity]).all() for quantity, each in ours.items()):
            return True
    return False


def by_row(draw: Draw, found: Trace, quantity: Quantity) -> np.ndarray:
    """The largest error of each row, given what one side found."""
    true = draw.truth[quantity]
    return errors(found[quantity], true, draw.units[quantity]).reshape(len(true), -1).max(axis=1)


def part(trace: Trace, rows: slice) -> Trace:
    return {quantity: values[rows] for quantity, values in trace.items()}


def without(draw: Draw, rows: slice) -> Draw:
    """The draw without some rows: they are NaN on both sides and in the truth, which the judge counts as equal."""
    sides = {name: getattr(draw, name) for name in ("truth", "ours", "torch", "moved")}
    return replace(draw, **{name: _blank(trace, rows) for name, trace in sides.items() if trace is not None})


def _blank(trace: Trace, rows: slice) -> Trace:
    blank = {quantity: values.copy() for quantity, values in trace.items()}
    for values in blank.values():
        values[rows] = np.nan
    return blank
