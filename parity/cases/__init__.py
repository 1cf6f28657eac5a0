"""The tables of cases, one file a room of `jaxtrain`."""

import sys
from functools import cache
from importlib import import_module
from types import ModuleType

from parity import draws
from parity.case import Case
from parity.counterparts import ROOMS


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


def _forget_tables() -> dict[str, ModuleType]:
    """Let the next import of a table make it anew; the modules so far, by name."""
    names = [name for name in sys.modules if name.startswith(f"{__name__}.")]
    return {name: sys.modules.pop(name) for name in names}


def _from_tables() -> tuple[Case, ...]:
    tables = (*ROOMS, "train", "takeover", "half_precision")
    return tuple(case for table in tables for case in import_module(f"parity.cases.{table}").CASES)
