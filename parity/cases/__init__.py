"""The tables of cases, one file a room of `jaxtrain`."""

from functools import cache
from importlib import import_module

from parity.case import Case
from parity.counterparts import ROOMS


@cache
def all_cases() -> tuple[Case, ...]:
    """Every case, in the order of the report."""
    tables = (*ROOMS, "train", "takeover", "half_precision")
    return tuple(case for table in tables for case in import_module(f"parity.cases.{table}").CASES)
