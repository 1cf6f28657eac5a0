"""Distances between two runs, and the two verdicts.

Both sides of a comparison are dictionaries of arrays whose first axis is the step. Every array has a unit, the
size against which an error of it is counted: the distance travelled for a parameter, the largest magnitude for
a loss or a gradient. The truth is always PyTorch in float64.

1. *Formula*: this package in float64 against the truth, at most `FORMULA_LIMIT` units at every step.
2. *Precision*: this package in float32 against the truth, at most `PRECISION_FACTOR` times the error that PyTorch
   itself makes in float32. Where PyTorch happens to be exact, the limit is that of the truth rounded to float32,
   because no float32 result can be nearer.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np

Arrays = Mapping[str, np.ndarray]

FORMULA_LIMIT = 1e-12
PRECISION_FACTOR = 2.0


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
    """The largest errors of both low-precision runs (where ours fares worst), and the first place over the limit.

    What shares a unit at one step shares a limit over all steps. Where PyTorch overflows, its error is no measure, and
    what is too small for a normal number counts against the smallest of these.
    """
    worst, found = (-1.0, 0.0, 0.0), []
    smallest = float(ml_dtypes.finfo(dtype).smallest_normal)
    for name, true in truth.items():
        unit = _with_dimensions(units[name], true.ndim)
        unit = np.where(unit > 0, np.maximum(unit, smallest), 0.0)
        shared = (0, *(axis for axis in range(1, true.ndim) if unit.shape[axis] == 1))

        def largest(error: np.ndarray, shared=shared) -> np.ndarray:
            return error.max(axis=shared, keepdims=True, initial=0.0)

        error, their_error = errors(ours[name], true, unit), errors(torch[name], true, unit)
        mine, theirs = largest(error), largest(np.where(np.isinf(their_error), 0.0, their_error))
        limit = factor * np.maximum(theirs, largest(errors(_rounded(true, dtype), true, unit)))
        for pair in zip(mine.flat, theirs.flat, limit.flat, strict=True):
            worst = max(worst, (pair[0] / pair[2] if pair[2] > 0 else pair[0], *pair[:2]))
        found.append(_first_difference(name, ours[name], true, error, np.broadcast_to(limit, error.shape), dtype))
    return worst[1], worst[2], _earliest(found)


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
