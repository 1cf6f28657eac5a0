"""Distances between two runs, and the two verdicts.

Both sides of a comparison are traces. Every array has a unit, the size against which its error is counted: the distance
travelled for a parameter, the largest magnitude for a loss or a gradient. The truth is always PyTorch in float64.

1. *Formula*: this package in float64 against the truth, at most `FORMULA_LIMIT` units at every step.
2. *Precision*: this package in float32 against the truth, in the mean square at most `PRECISION_FACTOR` times the error
   that PyTorch itself makes in float32, over all elements, steps and draws that share a unit. Rounding the truth to
   float32 is an error that everyone makes, so PyTorch's error counts as at least that large. No single error may be
   larger than the largest of as many can be, given PyTorch's largest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike

from parity.trace import Quantity, Trace

Arrays = Mapping[str, np.ndarray]

FORMULA_LIMIT = 1e-12
PRECISION_FACTOR = 1.5

FALSE_ALARM = 1e-9
"""How probable it may be that the largest of several normal errors is over its limit by chance."""


@dataclass(frozen=True)
class Difference:
    """One place where two runs disagree.

    Attributes:
        quantity: in which array.
        step: at which step; None if the array has only one.
        index: the element.
        ours: our value.
        torch: PyTorch's, in float64.
        error: how far apart they are, in units; for a mean square, the root of it.
        limit: the largest error allowed.
        dtype: of our value.
        measure: what `error` and `limit` are; those of a mean square belong to all that shares a unit, and the element
            is the worst of it.
        source: which inputs it was, if there are several.
    """

    quantity: Quantity
    step: int | None
    index: tuple[int, ...]
    ours: float
    torch: float
    error: float
    limit: float
    dtype: str
    measure: str = "error"
    source: str = ""

    def __str__(self) -> str:
        place = f"{f'{self.source}: ' if self.source else ''}{self.quantity}{list(self.index) if self.index else ''}"
        at = "" if self.step is None else f" at step {self.step}"
        ulp = f"{ulp_distance(self.ours, self.torch, self.dtype):.3g} {self.dtype} ulp apart"
        error = f"{self.measure} {self.error:.3g}, limit {self.limit:.3g}"
        return f"{place}{at}: ours {self.ours!r}, torch {self.torch!r}, {ulp}; {error}"


@dataclass(frozen=True)
class Measurement:
    """What one comparison found.

    Attributes:
        formula: the largest float64 error, in units.
        ours: our root mean square error in low precision, in units, where it is worst compared with its limit.
        torch: PyTorch's there.
        difference: the first place over a limit, if any.
    """

    formula: float
    ours: float
    torch: float
    difference: Difference | None = None

    @property
    def passed(self) -> bool:
        return self.difference is None


def ulp_distance(a: float, b: float, dtype: str) -> float:
    """How many steps of the floating point grid of `dtype`, as wide as it is at `b`, lie between `a` and `b`."""
    if not (math.isfinite(a) and math.isfinite(b)):
        return 0.0 if a == b or (math.isnan(a) and math.isnan(b)) else math.inf
    return abs(a - b) / float(spacing(b, dtype))


def spacing(values: ArrayLike, dtype: str) -> np.ndarray:
    """The distance of neighbours on the floating point grid of `dtype` at finite values."""
    info = ml_dtypes.finfo(dtype)
    magnitudes = np.maximum(np.abs(values), float(info.smallest_normal))
    return np.ldexp(float(info.eps), np.frexp(magnitudes)[1] - 1)


def errors(ours: np.ndarray, truth: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """The error of every element, in units.

    Where the truth is infinite or NaN, only the same value will do. Where the unit is zero, only equality will.
    """
    ours, truth = np.asarray(ours, np.float64), np.asarray(truth, np.float64)
    if ours.shape != truth.shape:
        raise AssertionError(f"shapes differ: ours {ours.shape}, torch {truth.shape}")
    same = (ours == truth) | (np.isnan(ours) & np.isnan(truth))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        error = np.abs(ours - truth) / with_dimensions(unit, truth.ndim)
    error = np.where(np.isfinite(truth) & np.isfinite(ours), error, np.inf)
    return np.where(same, 0.0, error)


def with_dimensions(unit: np.ndarray, dimensions: int) -> np.ndarray:
    """The unit with an axis of size one for each that it lacks."""
    return unit.reshape(unit.shape + (1,) * (dimensions - unit.ndim))


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """The nearest values of `dtype`, in float64."""
    with np.errstate(over="ignore"):
        return values.astype(ml_dtypes.finfo(dtype).dtype).astype(np.float64)


def formula_verdict(
    ours: Trace, truth: Trace, units: Trace, limit: float, by_rounding: Mapping[Quantity, float] | None = None
) -> tuple[float, Difference | None]:
    """The largest error of a float64 run, and the worst element of the first step over the limit.

    Args:
        ours: the run.
        truth: PyTorch's.
        units: of each array of the truth.
        limit: the largest error allowed.
        by_rounding: of each quantity, the error that rounding alone can make, if that may be larger than `limit`.
    """
    usual, worst, first, difference = limit, 0.0, math.inf, None
    for quantity, true in truth.items():
        limit = max(usual, (by_rounding or {}).get(quantity, 0.0))
        error = errors(ours[quantity], true, units[quantity])
        worst = max(worst, float(error.max(initial=0.0)))
        over = np.flatnonzero((error > limit).reshape(len(error), -1).any(axis=1))
        if over.size and over[0] < first:
            first = int(over[0])
            at = (first, *np.unravel_index(int(np.argmax(error[first])), error[first].shape))
            difference = difference_at(quantity, at, ours[quantity], true, float(error[at]), limit, "float64")
    return worst, difference


def largest_by_chance(largest: float, count: int) -> float:
    """How large the largest of as many errors can be, given the largest of others of their kind.

    The largest of n normal errors is usually about √(2 log 2n) deviations; with the probability `FALSE_ALARM` it is
    above √(2 log (2n / FALSE_ALARM)). The one given may be of the usual kind while the other is of the rare one.
    """
    return largest * math.sqrt(math.log(2 * count / FALSE_ALARM) / math.log(2 * count))


def largest_normal(deviation: float, count: int) -> float:
    """Above what the largest of as many normal errors is with the probability `FALSE_ALARM`."""
    return deviation * math.sqrt(2 * math.log(2 * count / FALSE_ALARM))


def difference_at(
    quantity: Quantity,
    at: Sequence[SupportsIndex],
    ours: np.ndarray,
    truth: np.ndarray,
    error: float,
    limit: float,
    dtype: str,
) -> Difference:
    """The difference of two arrays at an index whose first part is the step."""
    step, *index = map(int, at)
    values = float(ours[step, *index]), float(truth[step, *index])
    return Difference(quantity, step if len(truth) > 1 else None, tuple(index), *values, error, limit, dtype)
