"""Distances between two runs, and the two verdicts.

Both sides of a comparison are dictionaries of arrays whose first axis is the step. Every array has a unit, the
size against which an error of it is counted: the distance travelled for a parameter, the largest magnitude for
a loss or a gradient. The truth is always PyTorch in float64.

1. *Formula*: this package in float64 against the truth, at most `FORMULA_LIMIT` units at every step.
2. *Precision*: this package in float32 against the truth. The root mean square of its errors is at most
   `PRECISION_FACTOR` times that of PyTorch in float32, or of rounding to float32 where PyTorch happens to be nearer,
   because no float32 result can be. A single error may be larger than PyTorch's largest by as much as chance explains,
   so that one wrong element cannot hide among many right ones.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np

Arrays = Mapping[str, np.ndarray]

FORMULA_LIMIT = 1e-12
PRECISION_FACTOR = 1.5
FALSE_ALARM = 1e-9
"""How probable it may be that the largest of several normal errors is over its limit by chance."""


@dataclass(frozen=True)
class Difference:
    """One place where two runs disagree."""

    name: str
    step: int
    index: tuple[int, ...]
    ours: float
    torch: float
    error: float
    limit: float
    dtype: str

    def __str__(self) -> str:
        place = f"{self.name}{list(self.index) if self.index else ''} at step {self.step}"
        return (
            f"{place}: ours {self.ours!r}, torch {self.torch!r}, {ulp_distance(self.ours, self.torch, self.dtype):.3g} "
            f"{self.dtype} ulp apart; error {self.error:.3g}, limit {self.limit:.3g}"
        )


@dataclass(frozen=True)
class Measurement:
    """What one comparison found: the largest errors, in units, and the first place over a limit, if any."""

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
    info = ml_dtypes.finfo(dtype)
    spacing = max(float(info.eps) * 2.0 ** math.floor(math.log2(abs(b))) if b else 0.0, float(info.smallest_subnormal))
    return abs(a - b) / spacing


def errors(ours: np.ndarray, truth: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """The error of every element, in units.

    Where the truth is infinite or NaN, only the same value will do. Where the unit is zero, only equality will.
    """
    ours, truth = np.asarray(ours, np.float64), np.asarray(truth, np.float64)
    if ours.shape != truth.shape:
        raise AssertionError(f"shapes differ: ours {ours.shape}, torch {truth.shape}")
    same = (ours == truth) | (np.isnan(ours) & np.isnan(truth))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        error = np.abs(ours - truth) / _with_dimensions(unit, truth.ndim)
    error = np.where(np.isfinite(truth) & np.isfinite(ours), error, np.inf)
    return np.where(same, 0.0, error)


def formula_verdict(ours: Arrays, truth: Arrays, units: Arrays, limit: float) -> tuple[float, Difference | None]:
    """The largest error of a float64 run, and the first place over the limit."""
    worst, found = 0.0, []
    for name, true in truth.items():
        error = errors(ours[name], true, units[name])
        worst = max(worst, float(error.max(initial=0.0)))
        found.append(_first_difference(name, ours[name], true, error, np.full_like(error, limit), "float64"))
    return worst, _earliest(found)


def precision_verdict(
    ours: Arrays, torch: Arrays, truth: Arrays, units: Arrays, factor: float, dtype: str
) -> tuple[float, float, Difference | None]:
    """Both root mean square errors in low precision, where ours fares worst, and the first place over a limit.

    What shares a unit at one step shares its limits over all steps. Where PyTorch overflows, its error is not a
    measure, and what is too small for a normal number counts against the smallest of these.
    """
    worst, found = (-1.0, 0.0, 0.0), []
    smallest = float(ml_dtypes.finfo(dtype).smallest_normal)
    for name, true in truth.items():
        unit = _with_dimensions(units[name], true.ndim)
        unit = np.where(unit > 0, np.maximum(unit, smallest), 0.0)
        pool = _Pool((0, *(axis for axis in range(1, true.ndim) if unit.shape[axis] == 1)), true.shape)
        error, their_error = errors(ours[name], true, unit), errors(torch[name], true, unit)
        their_error = np.where(np.isinf(their_error), 0.0, their_error)
        rounding, grid = errors(_rounded(true, dtype), true, unit), _half_spacing(true, dtype, unit)

        mine, theirs = pool.mean_square(error) ** 0.5, pool.mean_square(their_error) ** 0.5
        # Rounding is off by half a step of the grid at most, and by a third of its square in the mean square.
        least = np.maximum(pool.mean_square(rounding), pool.mean_square(grid) / 3) ** 0.5
        limit = factor * np.maximum(theirs, least)
        largest = pool.largest(np.maximum(their_error, np.maximum(rounding, grid)))
        for pair in zip(mine.flat, theirs.flat, limit.flat, strict=True):
            worst = max(worst, (pair[0] / pair[2] if pair[2] > 0 else pair[0], *pair[:2]))
        # Over its limit in the mean square, some error is over it, too.
        allowed = np.where(mine > limit, limit, factor * largest * pool.chance)
        found.append(_first_difference(name, ours[name], true, error, np.broadcast_to(allowed, error.shape), dtype))
    return worst[1], worst[2], _earliest(found)


@dataclass(frozen=True)
class _Pool:
    """What is counted together of an array of errors: all along the axes `shared`."""

    shared: tuple[int, ...]
    shape: tuple[int, ...]

    def mean_square(self, error: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.square(error).sum(axis=self.shared, keepdims=True) / max(self.count, 1)

    def largest(self, error: np.ndarray) -> np.ndarray:
        return error.max(axis=self.shared, keepdims=True, initial=0.0)

    @property
    def count(self) -> int:
        return math.prod(self.shape[axis] for axis in self.shared)

    @property
    def chance(self) -> float:
        """How many times the largest of as many errors another run's largest can be.

        The largest of n normal errors is usually near √(2 log 2n) deviations, and above √(2 log (2n / `FALSE_ALARM`))
        only with that probability. PyTorch's may be of the usual kind while ours is of the rare one.
        """
        usual = math.log(2 * max(self.count, 1))
        return math.sqrt((usual - math.log(FALSE_ALARM)) / usual)


def _half_spacing(values: np.ndarray, dtype: str, unit: np.ndarray) -> np.ndarray:
    """Half the spacing of the grid of `dtype` at every finite value, in units."""
    finite = np.where(np.isfinite(values), values, 0.0)
    spacing = float(ml_dtypes.finfo(dtype).eps) * 2.0 ** (np.frexp(finite)[1] - 1.0)
    return np.divide(spacing / 2, unit, out=np.zeros_like(finite), where=(finite != 0) & (unit > 0))


def within_range(truth: Arrays, dtype: str) -> Arrays:
    """The truth with infinity for what is beyond the range of `dtype`."""
    rounded = {name: _rounded(values, dtype) for name, values in truth.items()}
    return {name: np.where(np.isinf(rounded[name]), rounded[name], values) for name, values in truth.items()}


def _rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(ml_dtypes.finfo(dtype).dtype).astype(np.float64)


def _with_dimensions(unit: np.ndarray, dimensions: int) -> np.ndarray:
    return unit.reshape(unit.shape + (1,) * (dimensions - unit.ndim))


def _first_difference(
    name: str, ours: np.ndarray, truth: np.ndarray, error: np.ndarray, limit: np.ndarray, dtype: str
) -> Difference | None:
    """The worst element of the first step in which an error is over its limit."""
    over = np.flatnonzero((error > limit).reshape(len(error), -1).any(axis=1))
    if not over.size:
        return None
    step = int(over[0])
    excess = np.where(error[step] > limit[step], error[step], -1.0)
    index = np.unravel_index(int(np.argmax(excess)), excess.shape)
    at = (step, *index)
    return Difference(
        name, step, tuple(map(int, index)), float(ours[at]), float(truth[at]), float(error[at]), float(limit[at]), dtype
    )


def _earliest(found: list[Difference | None]) -> Difference | None:
    return min((difference for difference in found if difference), key=lambda found: found.step, default=None)
