"""The tables of cases, one file a room of `jaxtrain`."""

from functools import cache
from importlib import import_module

from parity.case import Case

ROOMS = ("losses", "optim", "schedules", "regularization", "nn", "train", "half_precision")


@cache
def all_cases() -> tuple[Case, ...]:
    """Every case, in the order of the report."""
    return tuple(case for room in ROOMS for case in import_module(f"parity.cases.{room}").CASES)


def matching(pattern: str) -> list[Case]:
    """The cases whose name, `component[configuration]`, contains `pattern`."""
    return [case for case in all_cases() if pattern in case.name]
