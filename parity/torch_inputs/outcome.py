"""What became of an input, and of all inputs of a component."""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What became of an input: the first three if PyTorch accepts it, the others if PyTorch rejects it."""

    MATCHED = "matched"
    REFUSED = "refused"
    DIFFERENT = "different"
    REJECTED = "rejected"
    WITHOUT_COUNTERPART = "without a counterpart"
    NOT_REJECTED = "not rejected"


FAILURES = (Kind.DIFFERENT, Kind.NOT_REJECTED)


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes:
        kind: what became of it.
        input: which input it is.
        reason: why it is refused or has no counterpart, why a match has wider limits, or what is wrong.
    """

    kind: Kind
    input: str
    reason: str = ""


@dataclass(frozen=True)
class Findings:
    """What became of all inputs of a component."""

    component: str
    outcomes: tuple[Outcome, ...]

    def number(self, *kinds: Kind) -> int:
        """How many inputs are of these kinds."""
        return sum(outcome.kind in kinds for outcome in self.outcomes)

    def reasons(self, kind: Kind) -> Counter[str]:
        """How many inputs of a kind have each reason."""
        return Counter(outcome.reason for outcome in self.outcomes if outcome.kind == kind and outcome.reason)

    @property
    def inputs(self) -> int:
        """How many inputs PyTorch accepts."""
        return self.number(Kind.MATCHED, Kind.REFUSED, Kind.DIFFERENT)

    @property
    def run(self) -> int:
        """How many of those ours should accept as well."""
        return self.inputs - self.number(Kind.REFUSED)

    @property
    def errors(self) -> int:
        """How many inputs PyTorch rejects."""
        return self.number(Kind.REJECTED, Kind.WITHOUT_COUNTERPART, Kind.NOT_REJECTED)

    @property
    def failures(self) -> list[str]:
        """What is wrong with ours, input by input."""
        return [f"{outcome.input}: {outcome.reason}" for outcome in self.outcomes if outcome.kind in FAILURES]
