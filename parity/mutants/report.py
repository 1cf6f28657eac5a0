"""The verdicts as lines on the terminal, as Markdown and as JSON."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from parity.mutants.catching import Verdict
from parity.mutants.changes import KINDS
from parity.mutants.mutants import Mutant


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


def summary(verdicts: Sequence[Verdict], possible: Sequence[Mutant]) -> str:
    """One line for each room, and one for all."""
    seconds = sum(verdict.seconds for verdict in verdicts)
    return "\n".join(
        [
            *(f"{room}: {_figures(members)}" for room, members in _rooms(verdicts)),
            f"{_figures(verdicts)} (of {len(possible)} possible), in {seconds:.0f} s of CPU time",
        ]
    )


def markdown(verdicts: Sequence[Verdict], possible: Sequence[Mutant], seed: int) -> str:
    """One row for each room; below, what survives, and how many mutants there are of each kind."""
    of_room = Counter(mutant.room for mutant in possible)
    lines = ["| room | mutants | drawn | caught | equivalent | survived | caught of the others |", f"|{'---|' * 7}"]
    for room, members in _rooms(verdicts):
        caught, equivalent, survived = _counts(members)
        share = f"{caught / (caught + survived):.1%}" if caught + survived else "-"
        lines.append(
            f"| `{room}` | {of_room[room]} | {len(members)} | {caught} | {equivalent} | {survived} | {share} |"
        )
    kinds = Counter(verdict.mutant.kind for verdict in verdicts)
    lines += ["", f"Seed {seed}; kinds: {', '.join(f'{kinds[kind]} {kind}' for kind in KINDS if kinds[kind])}."]
    lines += [f"- survived: `{verdict.mutant.name}`" for verdict in survivors(verdicts)]
    return "\n".join(lines) + "\n"


def as_json(verdicts: Sequence[Verdict]) -> str:
    """One entry for each mutant."""
    entries = [
        {
            "module": verdict.mutant.module,
            "kind": verdict.mutant.kind,
            "line": verdict.mutant.lines[0],
            "before": verdict.mutant.before,
            "after": verdict.mutant.after,
            "caught_by": verdict.caught_by,
            "explanation": verdict.explanation,
        }
        for verdict in verdicts
    ]
    return json.dumps(entries, indent=2) + "\n"


def _rooms(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, list[Verdict]]]:
    for room in dict.fromkeys(verdict.mutant.room for verdict in verdicts):
        yield room, [verdict for verdict in verdicts if verdict.mutant.room == room]


def _counts(verdicts: Sequence[Verdict]) -> tuple[int, int, int]:
    """How many are caught, equivalent and neither."""
    caught = sum(verdict.caught_by is not None for verdict in verdicts)
    survived = len(survivors(verdicts))
    return caught, len(verdicts) - caught - survived, survived


def _figures(verdicts: Sequence[Verdict]) -> str:
    caught, equivalent, unexplained = _counts(verdicts)
    return f"{caught} of {len(verdicts)} mutants caught, {equivalent} equivalent, {unexplained} unexplained"
