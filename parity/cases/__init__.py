"""The tables of cases, one file a room of `jaxtrain`."""

import sys
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from types import ModuleType

from parity import draws
from parity.case import Case
from parity.counterparts import ROOMS
from parity.options import named


@cache
def all_cases() -> tuple[Case, ...]:
    """Every case, in the order of the report."""
    return _from_tables()


def cases_of_seed(seed: int) -> tuple[Case, ...]:
    """Every case as a process with this seed draws it: from tables of its own."""
    usual = _forget_tables()
    try:
        with draws.seed(seed):
            return _from_tables()
    finally:
        _forget_tables()
        sys.modules.update(usual)


def cases_named(cases: Iterable[Case], names: Sequence[str]) -> list[Case]:
    """The cases whose name contains one of `names`, or every case if `names` is empty.

    Raises:
        ArgumentError: if a name is in none of them.
    """
    return named(cases, names, "a case, such as optim.adam", lambda case: case.name)


def _forget_tables() -> dict[str, ModuleType]:
    """Take the tables out of `sys.modules`, so that they are imported again; returns what was there."""
    names = [name for name in sys.modules if name.startswith(f"{__name__}.")]
    return {name: sys.modules.pop(name) for name in names}


def _from_tables() -> tuple[Case, ...]:
    tables = (*ROOMS, "train", "takeover", "half_precision")
    return tuple(case for table in tables for case in import_module(f"parity.cases.{table}").CASES)
