"""The figures as lines on the terminal and as Markdown."""

from collections import Counter
from collections.abc import Sequence

from parity.torch_inputs.verdict import Verdict


def line(verdict: Verdict) -> str:
    """A component: its figures, and what is wrong."""
    figures = f"{verdict.component}: {verdict.inputs} inputs, {verdict.run} run, {verdict.matched} matched"
    if verdict.errors:
        figures += f"; {verdict.rejected} of {verdict.errors} error inputs rejected"
    if without := verdict.without_counterpart.total():
        figures += f", {without} without a counterpart"
    return "\n".join([figures, *(f"  FAIL {failure}" for failure in verdict.failures)])


def reasons(verdicts: Sequence[Verdict]) -> list[str]:
    """Why inputs are refused or have no counterpart, and why limits are wider than usual."""

    def total(counters: list[Counter[str]]) -> list[tuple[str, int]]:
        return sum(counters, Counter()).most_common()

    return [
        *(f"{number} refused: {reason}" for reason, number in total([v.refused for v in verdicts])),
        *(
            f"{number} errors without a counterpart: {reason}"
            for reason, number in total([v.without_counterpart for v in verdicts])
        ),
        *(
            f"`{v.component}`, {number} of {v.inputs}: {limits}"
            for v in verdicts
            for limits, number in v.wider.most_common()
        ),
    ]


def summary(verdicts: Sequence[Verdict]) -> str:
    """All components in one sentence."""
    inputs, run = sum(v.inputs for v in verdicts), sum(v.run for v in verdicts)
    matched, errors = sum(v.matched for v in verdicts), sum(v.errors for v in verdicts)
    rejected = sum(v.rejected for v in verdicts)
    without = sum(v.without_counterpart.total() for v in verdicts)
    return (
        f"{matched} of {run} inputs of {len(verdicts)} components matched, {inputs - run} of {inputs} refused; "
        f"{rejected} of {errors} error inputs rejected, {without} without a counterpart"
    )


def markdown(verdicts: Sequence[Verdict], versions: str) -> str:
    """A row a component, then the reasons."""
    lines = [
        "| component | inputs | run | matched | error inputs | rejected | without a counterpart |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| `{v.component}` | {v.inputs} | {v.run} | {v.matched} "
            f"| {v.errors} | {v.rejected} | {v.without_counterpart.total()} |"
            for v in verdicts
        ),
        "",
        f"{summary(verdicts)} {versions}.",
        *(f"- {reason}." for reason in reasons(verdicts)),
    ]
    return "\n".join(lines) + "\n"
