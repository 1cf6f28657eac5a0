"""The precision verdict: errors in low precision, ours and PyTorch's, over all that shares a unit."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np

from parity.trace import Quantity, Trace
from parity.verdicts import (
    Difference,
    difference_at,
    errors,
    largest_by_chance,
    rounded,
    spacing,
    with_dimensions,
)


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What both sides computed from the same inputs; a verdict is on the draws that have what it needs.

    Attributes:
        truth: PyTorch in float64.
        units: of each array of the truth.
        ours64: ours in float64, for the formula.
        ours: ours in low precision.
        torch: PyTorch in low precision.
        moved: PyTorch in float64 with a rounding after every operation; None if its own error is all that is allowed.
        by_rounding: of each quantity, the float64 error that rounding alone can make, if that may be over the limit.
        source: which inputs they were, for messages.
    """

    truth: Trace
    units: Trace
    ours64: Trace | None = None
    ours: Trace | None = None
    torch: Trace | None = None
    moved: Trace | None = None
    by_rounding: Mapping[Quantity, float] | None = None
    source: str = ""


def precision_verdict(draws: Iterable[Draw], factor: float, dtype: str) -> tuple[float, float, Difference | None]:
    """The errors of all draws together, those that share a unit pooled over steps and draws.

    Draws may differ in shape, as long as their units have the same rows.

    Args:
        draws: with `ours` and `torch`.
        factor: how many times PyTorch's error ours may be.
        dtype: of both.

    Returns:
        The root mean square errors of ours and of PyTorch where ours is worst compared with its limit, and what is
        furthest over a limit, if anything is.
    """
    shown, furthest, difference = (-1.0, 0.0, 0.0), 1.0, None
    for pool in pooled(draws, dtype).values():
        if not pool.worst:
            continue
        limit, ceiling = factor * pool.expected, factor * pool.expected_largest
        excess, beyond = _multiple(pool.mean, limit), _multiple(pool.largest, ceiling)
        shown = max(shown, (excess, pool.mean, pool.torch))
        if max(excess, beyond) > furthest:
            furthest = max(excess, beyond)
            difference = (
                replace(pool.worst, measure="root mean square error", error=pool.mean, limit=limit)
                if excess >= beyond
                else replace(pool.worst, limit=ceiling)
            )
    return *shown[1:], difference


def pooled(draws: Iterable[Draw], dtype: str) -> dict[tuple[Quantity, tuple[int, ...]], "Pool"]:
    """The errors of all draws by the quantity and the row of its units."""
    pools: dict[tuple[Quantity, tuple[int, ...]], Pool] = {}
    for draw in draws:
        _count(draw, pools, dtype)
    return pools


def _count(draw: Draw, pools: dict[tuple[Quantity, tuple[int, ...]], "Pool"], dtype: str) -> None:
    """Add the errors of a draw to the pools.

    Where PyTorch overflows or has NaN, with roundings after every operation or without, its error is not a measure and
    counts as zero. What is too small for a normal number counts against the smallest of these.
    """
    if draw.ours is None or draw.torch is None:
        raise ValueError("precision_verdict: expected draws with `ours` and `torch`, got one without")
    smallest = float(ml_dtypes.finfo(dtype).smallest_normal)
    for quantity, true in within_range(draw.truth, dtype).items():
        ours, unit = draw.ours[quantity], with_dimensions(draw.units[quantity], true.ndim)
        unit = np.where(unit > 0, np.maximum(unit, smallest), 0.0)
        theirs = errors(draw.torch[quantity], true, unit)
        moved = errors(draw.moved[quantity], true, unit) if draw.moved else np.zeros_like(theirs)
        finite = np.isfinite(true)
        with np.errstate(divide="ignore", over="ignore"):
            grid = np.where(finite & (unit > 0), spacing(np.where(finite, true, 0.0), dtype) / 2 / unit, 0.0)
        found = np.stack(
            [
                errors(ours, true, unit),
                np.where(np.isinf(theirs), 0.0, theirs),
                errors(rounded(true, dtype), true, unit),
                grid,
                np.where(np.isinf(moved), 0.0, moved),
            ]
        )
        own = [axis for axis in range(1, true.ndim) if unit.shape[axis] > 1]
        for row in np.ndindex(*(true.shape[axis] for axis in own)):
            members: list[int | slice] = [slice(None)] * true.ndim
            for axis, position in zip(own, row, strict=True):
                members[axis] = slice(position, position + 1)
            pool = pools.setdefault((quantity, row), Pool())
            if pool.add(*found[:, *members]):
                error = np.full(true.shape, -1.0)
                error[tuple(members)] = found[0, *members]
                at = np.unravel_index(int(np.argmax(error)), true.shape)
                worst = difference_at(quantity, at, ours, true, float(error[at]), math.nan, dtype)
                pool.worst = replace(worst, source=draw.source)


@dataclass
class Pool:
    """The errors of all that shares a unit: sums of squares, the largest ones, and where ours is.

    Attributes:
        count: how many errors.
        ours: sum of the squares of our errors.
        theirs: of PyTorch's.
        rounding: of the errors of the truth, rounded.
        grid: of half the spacing of the floating point grid, the largest error of rounding.
        moved: of the errors that a rounding after every operation makes.
        largest: our largest error.
        their_largest: the largest of all others.
        worst: where ours is largest.
    """

    count: int = 0
    ours: float = 0.0
    theirs: float = 0.0
    rounding: float = 0.0
    grid: float = 0.0
    moved: float = 0.0
    largest: float = -1.0
    their_largest: float = 0.0
    worst: Difference | None = None

    def add(
        self, ours: np.ndarray, theirs: np.ndarray, rounding: np.ndarray, grid: np.ndarray, moved: np.ndarray
    ) -> bool:
        """Count errors; whether ours has a new largest one."""
        if not ours.size:
            return False
        with np.errstate(over="ignore"):
            squares = [float(np.square(each).sum()) for each in (ours, theirs, rounding, grid, moved)]
        self.count += ours.size
        self.ours, self.theirs = self.ours + squares[0], self.theirs + squares[1]
        self.rounding, self.grid = self.rounding + squares[2], self.grid + squares[3]
        self.moved += squares[4]
        self.their_largest = max(self.their_largest, *(float(each.max()) for each in (theirs, rounding, grid, moved)))
        before, self.largest = self.largest, max(self.largest, float(ours.max()))
        return self.largest > before

    @property
    def mean(self) -> float:
        """The root mean square of our errors."""
        return math.sqrt(self.ours / self.count)

    @property
    def torch(self) -> float:
        """The root mean square of PyTorch's errors."""
        return math.sqrt(self.theirs / self.count)

    @property
    def expected(self) -> float:
        """PyTorch's root mean square, or that of rounding the result, or every operation, if it is larger.

        Rounding makes errors of half a step of the grid at most, with a third of its square as their mean square.
        """
        return math.sqrt(max(self.theirs, self.rounding, self.grid / 3, self.moved) / self.count)

    @property
    def expected_largest(self) -> float:
        """How large the largest of as many errors can be, given PyTorch's largest."""
        return largest_by_chance(self.their_largest, self.count)


def _multiple(error: float, limit: float) -> float:
    """How many times its limit an error is."""
    return error / limit if limit else math.inf if error else 0.0


def within_range(truth: Trace, dtype: str) -> Trace:
    """The truth with infinity for what is beyond the range of `dtype`."""
    nearest = {quantity: rounded(values, dtype) for quantity, values in truth.items()}
    return {
        quantity: np.where(np.isinf(nearest[quantity]), nearest[quantity], values) for quantity, values in truth.items()
    }
