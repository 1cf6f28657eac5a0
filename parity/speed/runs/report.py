"""The races as tables and as figures."""

import math
from collections.abc import Sequence
from typing import Any

from parity.speed.report import Cell, Section
from parity.speed.runs.measure import Race, Result

HEADER = (
    "run",
    "who",
    "steps/s",
    "samples/s",
    "of hand-written steps",
    "matrix products' share",
    "compile s",
    "start-up s",
    "peak memory",
)


def section(races: Sequence[Race], key: str, note: str) -> Section:
    """One table of all races."""
    rows = [_row(race, result) for race in races for result in race.results]
    return Section(key, "Whole runs", HEADER, rows, note)


def entries(races: Sequence[Race]) -> list[dict[str, Any]]:
    """Every figure, a contestant of a race an entry."""
    return [_entry(race, result) for race in races for result in race.results]


def _row(race: Race, result: Result) -> list[Cell]:
    names = [f"`{race.task.name}`" if result is race.results[0] else "", result.contestant.title]
    if not result.seconds:
        return [(text, False) for text in (*names, f"none: {result.failure}", *[""] * (len(HEADER) - 3))]
    steps = race.task.steps / result.epoch
    fresh = result.fresh
    figures = [
        _number(steps),
        _number(steps * race.task.batch_size),
        _fraction(race.ratio(result)),
        _fraction(race.share(result)),
        _number(result.compile),
        _number(fresh.start_up) if fresh else "",
        f"{fresh.peak / 1e6:,.0f} MB" if fresh else "",
    ]
    return [(text, False) for text in (*names, *figures)]


def _entry(race: Race, result: Result) -> dict[str, Any]:
    entry = {
        "run": race.task.name,
        "description": race.task.description,
        "contestant": result.contestant.key,
        "batch_size": race.task.batch_size,
        "steps": race.task.steps,
    }
    if not result.seconds:
        return {**entry, "failure": result.failure}
    fresh = {"start_up": result.fresh.start_up, "peak": result.fresh.peak} if result.fresh else {}
    return {
        **entry,
        "epochs": result.epochs,
        "seconds": result.seconds,
        "steps_per_second": race.task.steps / result.epoch,
        "ratio": race.ratio(result),
        "share": race.share(result),
        "compile": result.compile,
        **fresh,
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _fraction(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"
