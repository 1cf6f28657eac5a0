"""The verdicts as lines on the terminal, as Markdown and as JSON."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from parity.mutants.catching import Verdict
from parity.mutants.changes import KINDS
from parity.mutants.mutants import Mutant


def line(verdict: Verdict) -> str:
    """A mutant, and what became of it."""
    if verdict.caught_by:
        found = f"caught by {verdict.caught_by}"
    elif verdict.unfinished:
        found = f"unfinished: {verdict.unfinished}"
    elif verdict.explanation:
        found = f"equivalent: {verdict.explanation}"
    else:
        found = f"SURVIVED in `{verdict.mutant.key.after}`"
    return f"{verdict.mutant.name}: {found} ({verdict.seconds:.1f} s)"


@dataclass(frozen=True)
class Counts:
    """How many mutants of a room met which end."""

    possible: int
    drawn: int
    caught: int
    equivalent: int
    unfinished: int
    survived: int

    @property
    def share(self) -> str:
        """The part caught of those that are not equivalent; what is unfinished is not caught."""
        others = self.drawn - self.equivalent
        return f"{self.caught / others:.1%}" if others else "-"


def summary(verdicts: Sequence[Verdict], possible: Sequence[Mutant], seed: int) -> str:
    """One line for each room, and one for all."""
    lines = [f"{room}: {_figures(counts)}" for room, counts in _by_room(verdicts, possible)]
    seconds = sum(verdict.seconds for verdict in verdicts)
    whole = f"{_figures(_counts(verdicts, possible))}; seed {seed}, {seconds:.0f} s of CPU time"
    return "\n".join([*lines, whole])


def markdown(verdicts: Sequence[Verdict], possible: Sequence[Mutant], seed: int) -> str:
    """One row for each room; below, what survives, and how many mutants there are of each kind."""
    lines = [
        "| room | mutants | drawn | caught | equivalent | unfinished | survived | caught of those not equivalent |",
        f"|{'---|' * 8}",
    ]
    for room, counts in [*_by_room(verdicts, possible), ("all", _counts(verdicts, possible))]:
        cells = (counts.possible, counts.drawn, counts.caught, counts.equivalent, counts.unfinished, counts.survived)
        lines.append(f"| {room} | {' | '.join(map(str, cells))} | {counts.share} |")
    kinds = Counter(verdict.mutant.kind for verdict in verdicts)
    lines += ["", f"Seed {seed}; kinds: {', '.join(f'{kinds[kind]} {kind}' for kind in KINDS if kinds[kind])}."]
    lines += [f"- survived: `{verdict.mutant.name}`" for verdict in verdicts if verdict.survived]
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
            "unfinished": verdict.unfinished,
            "explanation": verdict.explanation,
        }
        for verdict in verdicts
    ]
    return json.dumps(entries, indent=2) + "\n"


def _by_room(verdicts: Sequence[Verdict], possible: Sequence[Mutant]) -> Iterator[tuple[str, Counts]]:
    for room in dict.fromkeys(mutant.room for mutant in possible):
        members = [verdict for verdict in verdicts if verdict.mutant.room == room]
        yield room, _counts(members, [mutant for mutant in possible if mutant.room == room])


def _counts(verdicts: Sequence[Verdict], possible: Sequence[Mutant]) -> Counts:
    return Counts(
        possible=len(possible),
        drawn=len(verdicts),
        caught=sum(verdict.caught_by is not None for verdict in verdicts),
        equivalent=sum(verdict.explanation is not None for verdict in verdicts),
        unfinished=sum(bool(verdict.unfinished) for verdict in verdicts),
        survived=sum(verdict.survived for verdict in verdicts),
    )


def _figures(counts: Counts) -> str:
    return (
        f"{counts.caught} of {counts.drawn} mutants caught, {counts.equivalent} equivalent, "
        f"{counts.unfinished} unfinished, {counts.survived} unexplained (of {counts.possible} possible)"
    )
