"""The random numbers of the cases: where they come from, and further draws of the same inputs."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np

GOLDEN = (5**0.5 - 1) / 2

Compared = Callable[..., Iterable[tuple[np.ndarray, np.ndarray]]]
"""From arrays in float64, pairs of numbers of each row that decide on which piece of a function it is."""


@dataclass(frozen=True)
class Drawing:
    """How the cases of a process draw their inputs.

    Attributes:
        seed: a number added to every seed.
        number: how many draws the precision verdict takes; None for as many as it needs.
    """

    seed: int = 0
    number: int | None = None


class _Process:
    drawing = Drawing()


def use(drawing: Drawing) -> None:
    """Let all cases of this process draw so.

    Raises:
        RuntimeError: if tables of cases have drawn their inputs with another seed.
    """
    if drawing.seed != _Process.drawing.seed and any(name.startswith("parity.cases.") for name in sys.modules):
        raise RuntimeError("use: expected no tables of cases yet, got some imported; call it first in the process")
    _Process.drawing = drawing


@contextmanager
def seed(number: int) -> Iterator[None]:
    """What is drawn within is drawn with this seed."""
    before, _Process.drawing = _Process.drawing, replace(_Process.drawing, seed=number)
    try:
        yield
    finally:
        _Process.drawing = before


def in_use() -> Drawing:
    """How the cases of this process draw."""
    return _Process.drawing


def numbers(usual: tuple[int, ...]) -> tuple[int, ...]:
    """After how many draws a verdict is given: as usual, or after the number in use; one draw stays one."""
    number = _Process.drawing.number
    return usual if number is None or usual == (1,) else (number,)


def generator(seed: int, *shape: int) -> np.random.Generator:
    """Random numbers for a table of cases; with a shape, others for each shape."""
    return np.random.default_rng((seed + _Process.drawing.seed, *shape))


def factor(number: int) -> float:
    """A number from 3/4 to 1 for each draw; 1 for number 0."""
    return 1 - (number + _Process.drawing.seed) * GOLDEN % 1 / 4 if number else 1.0


def redrawn(array: np.ndarray, number: int, precision: str) -> np.ndarray:
    """Other numbers of the same kind, exact in `precision`: each is multiplied by a number from 3/4 to 1.

    The factor depends on the number alone, so what was equal stays equal. Numbers with half the bits of `precision` or
    fewer stay as they are: zeros, ones, signs, points of a grid. Number 0 is the array itself.
    """
    array = np.asarray(array)
    if number == 0 or not np.issubdtype(array.dtype, np.floating):
        return array
    info = ml_dtypes.finfo(precision)
    fractions = np.abs(np.frexp(array.astype(np.float64))[0])
    with np.errstate(invalid="ignore"):
        few_bits = np.modf(fractions * 2.0 ** ((info.nmant + 1) // 2))[0] == 0
        chance = np.modf(fractions * 2.0**info.nmant * ((number + _Process.drawing.seed) * GOLDEN % 1))[0]
    others = (array * (1 - chance / 4)).astype(info.dtype).astype(array.dtype)
    return np.where(few_bits, array, others)


def decided(arrays: Sequence[np.ndarray], compared: Compared, precision: str) -> tuple[np.ndarray, ...]:
    """The arrays without rows that rounding puts on one piece of a function or on the other.

    These are rows of which two numbers that are compared differ in the second half of the digits of `precision` alone.
    The first row without such numbers takes their place. Numbers that are equal decide alike everywhere.
    """
    wide = [np.asarray(array, np.float64) for array in arrays]
    share = 2.0 ** -((ml_dtypes.finfo(precision).nmant + 1) // 2)
    apart = [
        (left == right) | (np.abs(left - right) > share * np.maximum(np.abs(left), np.abs(right)))
        for left, right in compared(*wide)
    ]
    is_decided = np.all(apart, axis=0)
    rows = np.where(is_decided, np.arange(len(is_decided)), np.argmax(is_decided))
    return tuple(array[rows] for array in arrays)
