"""What a diff found: as a value, on the terminal and as JSON."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from parity.diff.arrays import Compared
from parity.diff.findings import Finding


@dataclass
class Report:
    """The result of a diff.

    Attributes:
        findings: the wrong parts, in the order of computation.
        running: every quantity as it runs, in the order of computation.
        unmatched: what could not be lined up, with proposals.
        notes: what else is worth knowing.
        precision: in which JAX ran.
    """

    findings: list[Finding] = field(default_factory=list)
    running: list[Compared] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    precision: str = "float64"

    @property
    def first(self) -> Compared | None:
        """The first quantity that differs as it runs."""
        return next((each for each in self.running if each.differs), None)

    @property
    def same(self) -> bool:
        """Whether the port is right."""
        return not self.findings and self.first is None

    def __str__(self) -> str:
        console = Console(width=110)
        with console.capture() as capture:
            self.print(console)
        return capture.get()

    def print(self, console: Console | None = None) -> None:
        """Print a short table."""
        console = console or Console()
        if self.same:
            worst = max(self.running, key=lambda each: each.error / each.limit, default=None)
            tail = (
                f"; largest error {worst.error:.1e} of {worst.limit:.1e} ({worst.kind} {worst.path})" if worst else ""
            )
            console.print(
                f"No difference in {self.precision}: {len(self.running)} quantities agree{tail}.", markup=False
            )
        elif self.first:
            console.print(f"First difference, as it runs: {line(self.first)}", markup=False)
        if self.findings:
            table = Table("wrong by itself", "error", "rounding explains", "ulp", "cause", title="Layer by layer")
            for found in self.findings:
                table.add_row(
                    f"{found.name} ({found.kind})" + (f"\nours: {found.ours}" if found.ours != found.path else ""),
                    f"{found.worst.error:.1e}",
                    f"{found.worst.limit:.1e}",
                    f"{found.worst.ulp:.1e}",
                    cause_text(found),
                )
            console.print(table)
        elif self.first:
            console.print(
                "No layer, loss or optimizer differs by itself where both sides could be lined up; see what could not.",
                markup=False,
            )
        for each in self.amplified():
            console.print(
                f"rounding, amplified: {each.kind} {each.path} at step {each.step} ({each.error:.1e})", markup=False
            )
        for title, lines in (("not lined up", self.unmatched), ("note", self.notes)):
            for text in lines:
                console.print(f"{title}: {text}", markup=False)

    def amplified(self) -> list[Compared]:
        """Where rounding alone is visible, once for each parameter."""
        return list({(e.kind, e.path): e for e in reversed(self.running) if e.amplified}.values())

    def as_json(self) -> str:
        """Everything, for programs."""

        def finite(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: finite(inner) for key, inner in value.items()}
            if isinstance(value, list | tuple):
                return [finite(inner) for inner in value]
            return str(value) if isinstance(value, float) and value in (float("inf"), float("-inf")) else (
                None if isinstance(value, float) and value != value else value
            )  # fmt: skip

        content = {
            "same": self.same,
            "precision": self.precision,
            "first": asdict(self.first) if self.first else None,
            "findings": [asdict(found) for found in self.findings],
            "running": [asdict(each) | {"differs": each.differs} for each in self.running],
            "unmatched": self.unmatched,
            "notes": self.notes,
        }
        return json.dumps(finite(content), indent=1)


def line(each: Compared) -> str:
    """One quantity in words."""
    at = f" at step {each.step}" if each.step else ""
    if each.note:
        return f"{each.kind} of {each.path or 'the model'}{at}: {each.note}"
    return (
        f"{each.kind} of {each.path or 'the model'}{at}: ours {each.ours:.9g}, PyTorch {each.theirs:.9g} at "
        f"{list(each.index)}; error {each.error:.1e}, rounding explains {each.limit:.1e}"
    )


def cause_text(found: Finding) -> str:
    cause = str(found.cause) if found.cause else f"unknown; {line(found.worst)}"
    return f"{cause}\n{found.inside}" if found.inside else cause
