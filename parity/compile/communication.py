"""What a compiled program sends between its devices."""

import math
import re
from collections import Counter
from typing import NamedTuple

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f64": 8, "s64": 8, "u64": 8}
_COMPUTATION = re.compile(r"^(ENTRY )?%(\S+) .*\{$")
_OPERATION = re.compile(rf"^\s+(?:ROOT )?%\S+ = (.*?) ({'|'.join(KINDS)})(-start)?\(")
_SHAPE = re.compile(r"\b([a-z]+\d+|pred)\[([\d,]*)\]")
_GROUPS = re.compile(r"replica_groups=(?:\[\d+,(\d+)\]|\{\{([\d,]*)\})")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%([^\s,})]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


class Traffic(NamedTuple):
    """The collectives of one kind.

    Attributes:
        count: how often the program executes them.
        bytes: the sizes of the whole arrays that they gather, sum or exchange, added.
    """

    count: int
    bytes: int


def traffic(text: str) -> dict[str, Traffic] | None:
    """The collectives of an optimized program, each as often as its loop runs.

    Args:
        text: the program as `Compiled.as_text()` gives it.

    Returns:
        The traffic by kind; None if the program does not show how often a loop with collectives runs, as on TPUs.
    """
    bodies: dict[str, list[str]] = {}
    entry, lines = "", []
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            lines = bodies[found[2]] = []
            entry = found[2] if found[1] else entry
        else:
            lines.append(line)
    counts, sizes = Counter(), Counter()
    unknown = False

    def visit(computation: str, times: int) -> None:
        nonlocal unknown
        for line in bodies.get(computation, []):
            if found := _OPERATION.match(line):
                counts[found[2]] += times
                sizes[found[2]] += times * _bytes(line, *found.groups())
            trips, before = _TRIPS.search(line), counts.total()
            for called in _CALLED.findall(line):
                visit(called, times * (int(trips[1]) if trips else 1))
            unknown |= " while(" in line and trips is None and counts.total() > before

    visit(entry, 1)
    return None if unknown else {kind: Traffic(counts[kind], sizes[kind]) for kind in KINDS if counts[kind]}


def _bytes(line: str, result: str, kind: str, start: str | None) -> int:
    """The size of the whole array of one collective."""
    parts = [
        _SIZES.get(dtype, 4) * math.prod(map(int, filter(None, dims.split(","))))
        for dtype, dims in _SHAPE.findall(result)
    ]
    # What starts an all-gather or a permutation returns its operands as well.
    size = max(parts) if start and kind in ("all-gather", "collective-permute") else sum(parts)
    if kind != "reduce-scatter" or not (groups := _GROUPS.search(line)):
        return size
    return size * (int(groups[1]) if groups[1] else len(groups[2].split(",")))
