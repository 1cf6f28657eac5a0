"""Arrays of both sides: brought into one layout, and how far apart they are."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, permutations
from operator import mul
from typing import Any

import numpy as np

from parity.verdicts import ulp_distance

FLOAT64_LEAST, FLOAT32_LEAST = 1e-12, 4e-6
"""Limits below which no difference counts, in units: sums have another order in XLA."""

MARGIN = 16
"""How many times the error of PyTorch's float32 run a right port may have; errors of two runs are only alike."""

SCALE = 2.0**-29
"""Of a rounding error in float64 to one in float32."""

BLOCK = 2**20
"""Elements of an array that are compared at a time."""

CANCELLED = 1e-12
"""A gradient this much smaller than another of its group is what float64 rounding leaves of zero."""


@dataclass(frozen=True)
class Layout:
    """How an array of PyTorch becomes ours: its axes in another order, then perhaps another shape.

    Attributes:
        axes: PyTorch's axis for each of ours.
        shape: our shape.
    """

    axes: tuple[int, ...]
    shape: tuple[int, ...]

    def to_jax(self, array: np.ndarray) -> np.ndarray:
        return np.transpose(array, self.axes).reshape(self.shape)

    def to_torch(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Our array in PyTorch's layout; `shape` is PyTorch's."""
        permuted = array.reshape(tuple(shape[axis] for axis in self.axes))
        return np.transpose(permuted, np.argsort(self.axes))


def orders(count: int) -> Iterator[tuple[int, ...]]:
    """The orders of axes that ports differ in: as it is, channels last or first, batch second, a matrix transposed."""
    axes = tuple(range(count))
    seen = {axes}
    yield axes
    if count >= 2:
        last, first = (axes[0], *axes[2:], axes[1]), (axes[0], axes[-1], *axes[1:-1])
        for order in (last, first, (axes[1], axes[0], *axes[2:]), (*axes[:-2], axes[-1], axes[-2])):
            if order not in seen:
                seen.add(order)
                yield order


def layout_of(theirs: np.ndarray, ours: np.ndarray) -> Layout | None:
    """The layout that brings PyTorch's array nearest to ours; None if the sizes differ.

    As it is if the shapes are equal, unless another order is far nearer.
    """
    if theirs.size != ours.size:
        return None
    fitting = [Layout(order, ours.shape) for order in _fitting(theirs.shape, ours.shape)]
    if len(fitting) < 2:
        return fitting[0] if fitting else Layout(tuple(range(theirs.ndim)), ours.shape)
    distances = [_distance(layout.to_jax(theirs), ours) for layout in fitting]
    best = int(np.argmin(distances))
    return fitting[best] if distances[best] < distances[0] / 10 else fitting[0]


def _fitting(theirs: tuple[int, ...], ours: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The orders of PyTorch's axes that lead to our shape: usual ones; any, such as of heads; or with axes joined."""

    def made(candidates: Iterable[tuple[int, ...]], joined: bool) -> list[tuple[int, ...]]:
        shapes = ((order, tuple(theirs[axis] for axis in order)) for order in candidates)
        return [order for order, shape in shapes if shape == ours or (joined and _joins(shape, ours))]

    usual, count = list(orders(len(theirs))), len(theirs)
    some = made(usual, joined=False)
    if not some and 2 < count == len(ours) < 6:
        some = made(permutations(range(count)), joined=False)
    return some or made(usual, joined=True)


def _joins(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether neighbouring axes of one shape make the axes of the other: an image and its row of tokens, say."""
    sizes, others = ({*accumulate((n for n in shape if n > 1), mul)} for shape in (first, second))
    return sizes <= others or others <= sizes


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    if a.dtype == bool or b.dtype == bool:
        return float((a != b).any())
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.where(a == b, 0.0, np.abs(a - b))
    return float(np.nan_to_num(distance, nan=np.inf, posinf=np.inf).max(initial=0.0))


@dataclass(frozen=True)
class Compared:
    """One quantity on both sides.

    Attributes:
        kind: what it is: output, input gradient, parameter gradient, update, ...
        path: where, under PyTorch's name.
        step: at which step.
        error: the largest difference, in units.
        limit: the largest that rounding explains.
        rounding: the error of PyTorch's float32 run, in units.
        ulp: the difference of the two worst values, in units in the last place.
        index: of the worst element.
        ours: our value there.
        theirs: PyTorch's.
        note: what the numbers do not say.
    """

    kind: str
    path: str
    step: int
    error: float
    limit: float
    rounding: float
    ulp: float
    index: tuple[int, ...] = ()
    ours: float = math.nan
    theirs: float = math.nan
    note: str = ""

    @property
    def differs(self) -> bool:
        return not self.error <= self.limit

    def in_float32(self) -> "Compared":
        """The same with the limit for a run in float32."""
        return replace(self, limit=max(self.limit, FLOAT32_LEAST, MARGIN * self.rounding))

    @property
    def amplified(self) -> bool:
        """Whether rounding alone is visible here: PyTorch's float32 run is more than 1e-3 units from float64."""
        return not self.differs and self.rounding > 1e-3


def compared(
    kind: str,
    path: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    floor: float = 0.0,
    *,
    step: int = 0,
    unit: float | None = None,
    dtype: str = "float64",
) -> Compared:
    """Compare an array with PyTorch's in float64; both in PyTorch's layout.

    Args:
        kind: what it is.
        path: where.
        ours: our array.
        theirs: PyTorch's.
        floor: how far PyTorch's float32 run is from float64, which says what rounding does. Default 0.
        step: at which step.
        unit: in which errors are counted. Default None: the size of PyTorch's array.
        dtype: the precision of ours.
    """
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        note = f"shape {ours.shape}, PyTorch's is {theirs.shape}"
        return Compared(kind, path, step, math.inf, 0.0, 0.0, math.inf, note=note)
    unit = _size(theirs) if unit is None else unit
    rounding = floor / unit if unit else 0.0
    least, scale = (FLOAT64_LEAST, SCALE) if dtype == "float64" else (FLOAT32_LEAST, 1.0)
    limit = max(least, MARGIN * scale * rounding)
    worst, place = -1.0, 0
    for start, error in _errors(ours, theirs, unit):
        if error[index := int(np.argmax(error))] > worst:
            worst, place = float(error[index]), start + index
    if not ours.size:
        return Compared(kind, path, step, 0.0, limit, rounding, 0.0)
    at = tuple(int(i) for i in np.unravel_index(place, ours.shape))
    a, b = float(ours[at]), float(theirs[at])
    return Compared(kind, path, step, worst, limit, rounding, ulp_distance(a, b, dtype), at, a, b)


def floor_of(rough: np.ndarray | None, exact: np.ndarray | None) -> float:
    """The largest finite difference of what PyTorch computes in float32 and in float64."""
    if rough is None or exact is None or rough.shape != exact.shape:
        return 0.0
    errors = (error[np.isfinite(error)] for _, error in _errors(rough, exact, 1.0))
    return max((float(error.max(initial=0.0)) for error in errors), default=0.0)


def units(group: Mapping[Any, np.ndarray]) -> dict[Any, float]:
    """The size of each gradient of a group; of one that cancels, the size of the largest."""
    sizes = {key: _size(array) for key, array in group.items()}
    largest = max(sizes.values(), default=0.0)
    return {key: largest if size < CANCELLED * largest else size for key, size in sizes.items()}


def _size(array: np.ndarray) -> float:
    flat = array.reshape(-1)
    blocks = (flat[start : start + BLOCK] for start in range(0, flat.size, BLOCK))
    return max((float(np.abs(block[np.isfinite(block)]).max(initial=0.0)) for block in blocks), default=0.0)


def _errors(ours: np.ndarray, theirs: np.ndarray, unit: float) -> Iterator[tuple[int, np.ndarray]]:
    """The errors of two arrays, block by block, each with its place: a table of words has no room for copies."""
    a, b = ours.reshape(-1), theirs.reshape(-1)
    for start in range(0, a.size, BLOCK):
        yield start, _error(a[start : start + BLOCK], b[start : start + BLOCK], unit)


def _error(ours: np.ndarray, theirs: np.ndarray, unit: float) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        error = np.abs(ours - theirs) / unit if unit else np.where(ours == theirs, 0.0, np.inf)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    return np.where(same, 0.0, np.where(np.isfinite(error), error, np.inf))
