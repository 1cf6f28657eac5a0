"""The errors as tables: a summary, the largest ratios, and every quantity."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from statistics import median

from rich.markup import escape
from rich.table import Table

from parity.accuracy.measuring import Accuracy
from parity.report import PRECISIONS
from parity.verdicts import PRECISION_FACTOR

LARGEST = 20
"""How many of the largest ratios are listed on top."""


def table(found: Sequence[Accuracy]) -> Table:
    """One row for each quantity of each case, for the terminal, the largest ratios last."""
    table = Table("case", "quantity", "precision", "ours", "torch's", "ratio", title="Errors against float64")
    for one in sorted(found, key=lambda one: one.ratio):
        case = escape(f"{one.component}[{one.configuration}]")
        style = "bold red" if one.ratio > PRECISION_FACTOR else None
        table.add_row(case, one.quantity, one.precision, *map(_figure, (one.ours, one.torch, one.ratio)), style=style)
    return table


def summary(found: Sequence[Accuracy]) -> str:
    """All quantities in one sentence."""
    over = sum(one.ratio > PRECISION_FACTOR for one in found)
    worst = max(found, key=lambda one: one.ratio)
    return (
        f"{len(found):,} quantities of {len({one.component for one in found})} components: {over} over "
        f"{PRECISION_FACTOR} times PyTorch's error; the largest ratio is {worst.ratio:.2f}"
    )


def markdown(found: Sequence[Accuracy], versions: str) -> str:
    """The summary by precision, the largest ratios, and one row for each quantity of each component."""
    lines = [
        f"{summary(found)} {versions}.",
        "",
        "| precision | quantities | ratio below 0.8 | 0.8 to 1.2 | 1.2 to 1.5 | above 1.5 | median | largest |",
        "|---|---|---|---|---|---|---|---|",
        *(_of_precision(precision, [one for one in found if one.precision == precision]) for precision in PRECISIONS),
        "",
        "The largest ratios:",
        "",
        "| case | quantity | precision | ours | torch's | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for one in sorted(found, key=lambda one: -one.ratio)[:LARGEST]:
        figures = " | ".join(map(_figure, (one.ours, one.torch, one.ratio)))
        lines.append(f"| `{one.component}[{one.configuration}]` | {one.quantity} | {one.precision} | {figures} |")
    lines += [
        "",
        "Every quantity, each in the configuration of the largest ratio: ours, torch's, **ratio**.",
        "",
        f"| component | quantity | {' | '.join(PRECISIONS)} |",
        "|---|---|---|---|---|",
    ]
    for component, quantity in dict.fromkeys((one.component, one.quantity) for one in found):
        members = [one for one in found if (one.component, one.quantity) == (component, quantity)]
        cells = [_worst([one for one in members if one.precision == precision]) for precision in PRECISIONS]
        lines.append(f"| `{component}` | {quantity} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def as_json(found: Sequence[Accuracy]) -> str:
    """One entry for each quantity of each case; null where an error is infinite."""
    entries = [asdict(one) | {"ratio": one.ratio} for one in found]
    finite = [
        {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in entry.items()}
        for entry in entries
    ]
    return json.dumps(finite, indent=2) + "\n"


def _of_precision(precision: str, members: Sequence[Accuracy]) -> str:
    ratios = [one.ratio for one in members]
    if not ratios:
        return f"| {precision} | 0 | - | - | - | - | - | - |"
    bounds = (-1.0, 0.8, 1.2, PRECISION_FACTOR, math.inf)
    counts = [sum(low < ratio <= high for ratio in ratios) for low, high in pairwise(bounds)]
    cells = [precision, len(ratios), *counts, f"{median(ratios):.2f}", f"{max(ratios):.2f}"]
    return f"| {' | '.join(map(str, cells))} |"


def _worst(members: Sequence[Accuracy]) -> str:
    worst = max(members, key=lambda one: one.ratio, default=None)
    return f"{_figure(worst.ours)}, {_figure(worst.torch)}, **{worst.ratio:.2f}**" if worst else "-"


def _figure(number: float) -> str:
    return f"{number:.2f}" if number < 100 else f"{number:.0f}"
