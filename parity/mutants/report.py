"""The verdicts as lines on the terminal and as JSON."""

import json
from collections.abc import Sequence

from parity.mutants.catching import Verdict


def line(verdict: Verdict) -> str:
    """A mutant, and what became of it."""
    if verdict.caught_by:
        found = f"caught by {verdict.caught_by}"
    elif verdict.explanation:
        found = f"equivalent: {verdict.explanation}"
    else:
        found = f"SURVIVED in `{verdict.mutant.statement}`"
    return f"{verdict.mutant.name}: {found} ({verdict.seconds:.1f} s)"


def survivors(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those that nothing catches and nobody has explained."""
    return [verdict for verdict in verdicts if not (verdict.caught_by or verdict.explanation)]


def summary(verdicts: Sequence[Verdict], possible: int) -> str:
    """One line for each room, and one for all."""
    rooms: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        rooms.setdefault(verdict.mutant.module.split(".")[1], []).append(verdict)
    seconds = sum(verdict.seconds for verdict in verdicts)
    return "\n".join(
        [
            *(f"{room}: {_figures(members)}" for room, members in rooms.items()),
            f"{_figures(verdicts)} (of {possible} possible), in {seconds:.0f} s of CPU time",
        ]
    )


def as_json(verdicts: Sequence[Verdict]) -> str:
    """One entry for each mutant."""
    entries = [
        {
            "module": verdict.mutant.module,
            "kind": verdict.mutant.kind,
            "line": verdict.mutant.line,
            "before": verdict.mutant.before,
            "after": verdict.mutant.after,
            "caught_by": verdict.caught_by,
            "explanation": verdict.explanation,
        }
        for verdict in verdicts
    ]
    return json.dumps(entries, indent=2) + "\n"


def _figures(verdicts: Sequence[Verdict]) -> str:
    caught = sum(verdict.caught_by is not None for verdict in verdicts)
    unexplained = len(survivors(verdicts))
    return (
        f"{caught} of {len(verdicts)} mutants caught, {len(verdicts) - caught - unexplained} equivalent, "
        f"{unexplained} unexplained"
    )
