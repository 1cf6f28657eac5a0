"""The text of an optimized program, and how often its loops run."""

import re
from typing import NamedTuple

_COMPUTATION = re.compile(r"^(ENTRY )?%(\S+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%(\S+) = (.*? ([a-z][a-z0-9-]*)\(([^)]*)\).*)$")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_INDEX = re.compile(r"\bindex=(\d+)")


class Instruction(NamedTuple):
    """A line of a program.

    Attributes:
        operation: its name, such as "add".
        operands: the names of its operands, or what a constant is.
        line: everything after the equals sign.
    """

    operation: str
    operands: list[str]
    line: str

    def attribute(self, name: str) -> str:
        """The computation that an attribute names."""
        found = re.search(rf"\b{name}=%([^\s,}})]+)", self.line)
        return found[1] if found else ""


class Computation(NamedTuple):
    """The instructions of a computation by name, and the one whose result it returns."""

    instructions: dict[str, Instruction]
    root: str


def computations(text: str) -> tuple[dict[str, Computation], str]:
    """The computations of a program by name, and the name of its entry."""
    found: dict[str, Computation] = {}
    entry, name = "", ""
    for line in text.splitlines():
        if begin := _COMPUTATION.match(line):
            name = begin[2]
            found[name] = Computation({}, "")
            entry = name if begin[1] else entry
        elif name and (parts := _INSTRUCTION.match(line)):
            operands = [operand.rpartition("%")[2].strip() for operand in parts[5].split(",")]
            found[name].instructions[parts[2]] = Instruction(parts[4], operands, parts[3])
            if parts[1]:
                found[name] = found[name]._replace(root=parts[2])
    return found, entry


def trips(program: dict[str, Computation], within: Computation, loop: Instruction) -> int | None:
    """How often a loop runs, None if the program does not show it.

    Some compilers write it down. Otherwise the loop must count: from a constant, by a constant, while it is less than
    a constant.
    """
    if known := _TRIPS.search(loop.line):
        return int(known[1])
    condition, body = program[loop.attribute("condition")], program[loop.attribute("body")]
    test = condition.instructions[condition.root]
    if test.operation != "compare" or "direction=LT" not in test.line:
        return None
    counter, limit = _element(condition, test.operands[0]), _constant(condition, test.operands[1])
    if counter is None:
        return None
    start = _constant(within, _part(within, loop.operands[0], counter))
    following = _origin(body, _part(body, body.root, counter))
    if following is None or following.operation != "add" or _element(body, following.operands[0]) != counter:
        return None
    step = _constant(body, following.operands[1])
    return None if start is None or limit is None or not step else max(0, -(-(limit - start) // step))


def _origin(within: Computation, name: str) -> Instruction | None:
    """The instruction of that name, or what it copies."""
    found = within.instructions.get(name)
    return _origin(within, found.operands[0]) if found and found.operation == "copy" else found


def _element(within: Computation, name: str) -> int | None:
    """Which element of the loop's variables an instruction reads."""
    found = _origin(within, name)
    index = found and found.operation == "get-tuple-element" and _INDEX.search(found.line)
    return int(index[1]) if index else None


def _part(within: Computation, name: str, index: int) -> str:
    """The name of an element of a tuple."""
    found = within.instructions.get(name)
    return found.operands[index] if found and found.operation == "tuple" and index < len(found.operands) else ""


def _constant(within: Computation, name: str) -> int | None:
    """The integer that an instruction is."""
    found = _origin(within, name)
    is_integer = found and found.operation == "constant" and found.operands[0].lstrip("-").isdigit()
    return int(found.operands[0]) if found and is_integer else None
