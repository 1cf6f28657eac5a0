"""Run cases and keep what they found."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from math import nan
from multiprocessing import get_context

import jax
import torch

from parity import draws
from parity.case import Case
from parity.cases import all_cases
from parity.verdicts import Measurement


@dataclass(frozen=True)
class Result:
    """What one case found.

    Attributes:
        case: the case.
        measurement: both verdicts on the subject.
        missed: the planted defects that passed unnoticed.
        error: what the case raised instead; empty if it ran.
        by_default: both verdicts on the subject with the products that the device makes by default, for information;
            None where those are made with all bits.
    """

    case: Case
    measurement: Measurement
    missed: tuple[str, ...] = ()
    error: str = ""
    by_default: Measurement | None = None

    @property
    def passed(self) -> bool:
        return self.measurement.passed and not self.missed and not self.error

    @property
    def failure(self) -> str:
        """What is wrong, in one line; empty if nothing is."""
        if self.error:
            return self.error
        if self.measurement.difference:
            return str(self.measurement.difference)
        return f"planted defects not caught: {', '.join(self.missed)}" if self.missed else ""


def run(case: Case) -> Result:
    """Both verdicts on the subject, then each planted defect."""
    missed = tuple(defect for defect in case.defects if not case.catches(defect))
    rounds = jax.default_backend() != "cpu" and case.precision == "float32"
    return Result(
        case, case.measurement, missed, by_default=replace(case, products="default").measurement if rounds else None
    )


def attempt(case: Case) -> Result:
    """`run`, where a case that raises has failed: an older PyTorch may lack what it calls, and the others go on."""
    try:
        return run(case)
    except Exception as error:
        return Result(case, Measurement(nan, nan, nan), error=f"{type(error).__name__}: {error}")


def run_all(cases: Sequence[Case], processes: int = 1) -> Iterator[Result]:
    """Results one by one, in order; with several processes the cases must be from the tables."""
    if processes == 1:
        yield from map(attempt, cases)
        return
    # Neighbours share compiled programs, so a process takes a few at a time.
    with workers(processes) as pool:
        for case, found in zip(cases, pool.map(_run_named, [case.name for case in cases], chunksize=4), strict=True):
            yield Result(case, *found)


def workers(processes: int) -> ProcessPoolExecutor:
    """Processes in each of which PyTorch keeps to one core, and which draw inputs as this one does."""
    return ProcessPoolExecutor(processes, get_context("spawn"), initializer=_prepare, initargs=(draws.in_use(),))


def _prepare(drawing: draws.Drawing) -> None:
    torch.set_num_threads(1)
    draws.use(drawing)


def _run_named(name: str) -> tuple[Measurement, tuple[str, ...], str, Measurement | None]:
    """A result as it can travel between processes."""
    result = attempt(next(case for case in all_cases() if case.name == name))
    return result.measurement, result.missed, result.error, result.by_default
