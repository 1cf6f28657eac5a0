"""The random numbers of the cases: where they come from, and further draws of the same inputs."""

import sys

import ml_dtypes
import numpy as np

GOLDEN = (5**0.5 - 1) / 2


class _Seed:
    """The number that is added to every seed of this process."""

    start = 0


def start_at(seed: int) -> None:
    """Shift the seeds of all cases by a number.

    Raises:
        RuntimeError: if tables of cases are imported, which have drawn their inputs.
    """
    if seed != _Seed.start and any(name.startswith("parity.cases.") for name in sys.modules):
        raise RuntimeError("start_at: expected no tables of cases yet, got some imported; call it first in the process")
    _Seed.start = seed


def start() -> int:
    """By how much the seeds are shifted."""
    return _Seed.start


def generator(seed: int) -> np.random.Generator:
    """Random numbers for a table of cases."""
    return np.random.default_rng(seed + _Seed.start)


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
        chance = np.modf(fractions * 2.0**info.nmant * ((number + _Seed.start) * GOLDEN % 1))[0]
    others = (array * (1 - chance / 4)).astype(info.dtype).astype(array.dtype)
    return np.where(few_bits, array, others)
