"""Run cases and keep what they found."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from parity.case import Case
from parity.compare import Measurement


@dataclass(frozen=True)
class Result:
    """What one case found.

    Attributes:
        case: the case.
        measurement: both verdicts on the subject.
        missed: the planted defects that passed unnoticed.
    """

    case: Case
    measurement: Measurement
    missed: tuple[str, ...]

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
    return Result(case, case.measurement, missed)


def run_all(cases: Iterable[Case]) -> Iterator[Result]:
    """Results one by one, as they come."""
    return map(run, cases)
