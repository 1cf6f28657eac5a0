"""What a compiled program sends between its devices."""

import math
import re
from collections import Counter
from typing import NamedTuple

from parity.compile.program import Computation, Instruction, computations, trips

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f64": 8, "s64": 8, "u64": 8}
_SHAPE = re.compile(r"\b([a-z]+\d+|pred)\[([\d,]*)\]")
_GROUPS = re.compile(r"replica_groups=(?:\[\d+,(\d+)\]|\{\{([\d,]*)\}|mesh\[(.*?)\] \{(.*?)\})")
_AXIS = re.compile(r"'(\w+)'(?:=(\d+))?")
_CHANNEL = re.compile(r"channel_id=(\d+)")
_CALLED = ("calls", "to_apply", "body", "condition", "true_computation", "false_computation")


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
        The traffic by kind; None if the program does not show how often a loop with collectives runs.
    """
    program, entry = computations(text)
    counts, sizes = Counter(), Counter()
    fused: set[tuple[str, str]] = set()
    unknown = False

    def count(instruction: Instruction, times: int, *, in_fusion: bool) -> None:
        kind = instruction.operation.removesuffix("-start")
        channel = _CHANNEL.search(instruction.line)
        if kind not in KINDS:
            return
        if in_fusion and channel:
            # On a TPU the beginning, parts and end of a collective are in fusions of their own.
            if (kind, channel[1]) in fused:
                return
            fused.add((kind, channel[1]))
        counts[kind] += times
        sizes[kind] += times * _bytes(instruction, kind)

    def visit(computation: Computation, times: int, *, in_fusion: bool = False) -> None:
        nonlocal unknown
        for instruction in computation.instructions.values():
            count(instruction, times, in_fusion=in_fusion)
            is_loop, before = instruction.operation == "while", counts.total()
            often = trips(program, computation, instruction) if is_loop else 1
            for called in filter(None, map(instruction.attribute, _CALLED)):
                inside = in_fusion or instruction.operation == "fusion"
                visit(program[called], times * (1 if often is None else often), in_fusion=inside)
            unknown |= often is None and counts.total() > before

    visit(program[entry], 1)
    return None if unknown else {kind: Traffic(counts[kind], sizes[kind]) for kind in KINDS if counts[kind]}


def _bytes(instruction: Instruction, kind: str) -> int:
    """The size of the whole array of one collective."""
    result, _, _ = instruction.line.partition(f" {instruction.operation}(")
    parts = [
        _SIZES.get(dtype, 4) * math.prod(map(int, filter(None, dims.split(","))))
        for dtype, dims in _SHAPE.findall(result)
    ]
    if instruction.operation.endswith("-start") and kind in ("all-gather", "reduce-scatter", "collective-permute"):
        # What starts one of these returns its operands, and behind them the results.
        arrays = len(instruction.operands)
        return sum(parts[arrays : 2 * arrays] if kind == "all-gather" else parts[:arrays])
    return sum(parts) * (_members(instruction.line) if kind == "reduce-scatter" else 1)


def _members(line: str) -> int:
    """How many devices a collective joins."""
    groups = _GROUPS.search(line)
    if groups is None:
        return 1
    if groups[3]:
        sizes = {name: int(size) for name, size in _AXIS.findall(groups[3]) if size}
        return math.prod(sizes[name] for name, _ in _AXIS.findall(groups[4]))
    return int(groups[1]) if groups[1] else len(groups[2].split(","))
