"""Run cases and keep what they found."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch

from parity import device, draws
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
        default: the errors in float32 with products as the device computes them by default; None on a CPU, where they
            are the same. They are shown, not judged.
    """

    case: Case
    measurement: Measurement
    missed: tuple[str, ...]
    default: Measurement | None = None

    @property
    def passed(self) -> bool:
        return self.measurement.passed and not self.missed

    @property
    def failure(self) -> str:
        """What is wrong, in one line; empty if nothing is."""
        if self.measurement.difference:
            return str(self.measurement.difference)
        return f"planted defects not caught: {', '.join(self.missed)}" if self.missed else ""


def run(case: Case) -> Result:
    """Both verdicts on the subject, then each planted defect."""
    missed = tuple(defect for defect in case.defects if not case.catches(defect))
    is_other = not device.is_cpu() and case.precision == "float32" and case.measurement.passed
    return Result(case, case.measurement, missed, case.with_default_products if is_other else None)


def run_all(cases: Sequence[Case], processes: int = 1) -> Iterator[Result]:
    """Results one by one, in order; with several processes the cases must be from the tables."""
    if processes == 1:
        yield from map(run, cases)
        return
    # Neighbours share compiled programs, so a process takes a few at a time.
    with workers(processes) as pool:
        for case, found in zip(cases, pool.map(_run_named, [case.name for case in cases], chunksize=4), strict=True):
            yield Result(case, *found)


def workers(processes: int) -> ProcessPoolExecutor:
    """Processes in each of which PyTorch keeps to one core, and which draw inputs as this one does.

    On a GPU none of them takes most of the memory for itself.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    return ProcessPoolExecutor(processes, get_context("spawn"), initializer=_prepare, initargs=(draws.in_use(),))


def _prepare(drawing: draws.Drawing) -> None:
    torch.set_num_threads(1)
    draws.use(drawing)


def _run_named(name: str) -> tuple[Measurement, tuple[str, ...], Measurement | None]:
    """A result as it can travel between processes."""
    result = run(next(case for case in all_cases() if case.name == name))
    return result.measurement, result.missed, result.default
