"""The figures as lines on the terminal, as Markdown and as JSON."""

import json
from collections import Counter
from collections.abc import Sequence

from parity.torch_inputs.outcome import Findings, Kind


def line(findings: Findings) -> str:
    """The figures of a component, and its failures."""
    matched, rejected = findings.number(Kind.MATCHED), findings.number(Kind.REJECTED)
    figures = f"{findings.component}: {findings.inputs} inputs, {findings.run} run, {matched} matched"
    if findings.errors:
        figures += f"; {rejected} of {findings.errors} error inputs rejected"
    if without := findings.number(Kind.WITHOUT_COUNTERPART):
        figures += f", {without} without a counterpart"
    return "\n".join([figures, *(f"  FAIL {failure}" for failure in findings.failures)])


def reasons(found: Sequence[Findings]) -> list[str]:
    """Why inputs are refused or have no counterpart, and why limits are wider than usual."""

    def total(kind: Kind) -> list[tuple[str, int]]:
        counts = Counter[str]()
        for findings in found:
            counts.update(findings.reasons(kind))
        return counts.most_common()

    return [
        *(f"{number} refused: {reason}" for reason, number in total(Kind.REFUSED)),
        *(f"{number} errors without a counterpart: {reason}" for reason, number in total(Kind.WITHOUT_COUNTERPART)),
        *(
            f"`{findings.component}`, {number} of {findings.inputs}: {limits}"
            for findings in found
            for limits, number in findings.reasons(Kind.MATCHED).most_common()
        ),
    ]


def summary(found: Sequence[Findings]) -> str:
    """All components in one sentence."""

    def total(*kinds: Kind) -> int:
        return sum(findings.number(*kinds) for findings in found)

    inputs, run = sum(findings.inputs for findings in found), sum(findings.run for findings in found)
    return (
        f"{total(Kind.MATCHED)} of {run} inputs of {len(found)} components matched, "
        f"{total(Kind.REFUSED)} of {inputs} refused; "
        f"{total(Kind.REJECTED)} of {sum(findings.errors for findings in found)} error inputs rejected, "
        f"{total(Kind.WITHOUT_COUNTERPART)} without a counterpart"
    )


def markdown(found: Sequence[Findings], versions: str) -> str:
    """One row for each component, then the reasons."""
    lines = [
        "| component | inputs | run | matched | error inputs | rejected | without a counterpart |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| `{f.component}` | {f.inputs} | {f.run} | {f.number(Kind.MATCHED)} "
            f"| {f.errors} | {f.number(Kind.REJECTED)} | {f.number(Kind.WITHOUT_COUNTERPART)} |"
            for f in found
        ),
        "",
        f"{summary(found)} {versions}.",
        *(f"- {reason}." for reason in reasons(found)),
    ]
    return "\n".join(lines) + "\n"


def as_json(found: Sequence[Findings]) -> str:
    """One entry for each input."""
    entries = [
        {"component": findings.component, "input": outcome.input, "outcome": outcome.kind, "reason": outcome.reason}
        for findings in found
        for outcome in findings.outcomes
    ]
    return json.dumps(entries, indent=2) + "\n"
