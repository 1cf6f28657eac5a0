"""What a known mistake is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from parity.diff.intercept import FunctionCall


@dataclass(frozen=True)
class Mistake:
    """A way in which ports compute a call of PyTorch's wrongly.

    Attributes:
        says: what the port does, and what PyTorch does.
        fix: what to change in the port.
        change: computes the call as the port does.
    """

    says: str
    fix: str
    change: Callable[[FunctionCall], Any]


Rule = Callable[[FunctionCall], Iterator[Mistake]]


@dataclass(frozen=True)
class Rules:
    """Rules for the functions of these names; "*" is for all."""

    functions: frozenset[str]
    rules: tuple[Rule, ...]


def for_functions(*names: str) -> frozenset[str]:
    return frozenset(names)
