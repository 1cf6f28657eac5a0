"""The results as a table on the terminal, as Markdown and as JSON."""

import json
import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from parity.case import Case
from parity.markdown import begin_marker as begin_marker
from parity.markdown import end_marker as end_marker
from parity.markdown import write_markdown as write_markdown
from parity.runner import Result
from parity.verdicts import FORMULA_LIMIT, PRECISION_FACTOR

PRECISIONS = ("float32", "bfloat16", "float16")
ROUNDED_PRODUCTS = (
    "By default this device rounds the factors of float32 products, and these cases would fail; they were judged with "
    '`jax.config.update("jax_default_matmul_precision", "highest")`:'
)
HEADER = (
    "component",
    "configuration",
    "formula error (float64)",
    "precision",
    "our error",
    "torch's error",
    "defects caught",
    "verdict",
)


def row(result: Result) -> tuple[str, ...]:
    """One line of the table."""
    case, found = result.case, result.measurement
    caught = len(case.defects) - len(result.missed)
    return (
        case.component,
        case.configuration,
        f"{found.formula:.1e}",
        case.precision,
        f"{found.ours:.1e}",
        f"{found.torch:.1e}",
        f"{caught}/{len(case.defects)}",
        "pass" if result.passed else f"FAIL: {result.failure}",
    )


def table(results: Sequence[Result]) -> Table:
    """One row for each case, for the terminal."""
    table = Table(*HEADER, title="jaxtrain against PyTorch")
    for result in results:
        table.add_row(*row(result), style=None if result.passed else "bold red")
    return table


def summary(results: Sequence[Result]) -> str:
    """How many cases passed, and how many planted defects were caught."""
    defects = sum(len(result.case.defects) for result in results)
    caught = defects - sum(len(result.missed) for result in results)
    passed = sum(result.passed for result in results)
    components = len({result.case.component for result in results})
    return f"{passed}/{len(results)} cases of {components} components passed, {caught}/{defects} planted defects caught"


def markdown(results: Sequence[Result]) -> str:
    """One row for each component, with its worst figures; below, wider limits and their reasons."""
    lines = [
        "| component | cases | float64 | float32: ours, torch's | bfloat16: ours, torch's | float16: ours, torch's "
        "| defects caught |",
        "|---|---|---|---|---|---|---|",
    ]
    for component in dict.fromkeys(result.case.component for result in results):
        members = [result for result in results if result.case.component == component]
        defects = sum(len(result.case.defects) for result in members)
        missed = sum(len(result.missed) for result in members)
        failed = sum(not result.passed for result in members)
        lines.append(
            f"| `{component}` | {len(members)}{f' ({failed} FAIL)' if failed else ''} "
            f"| {max(result.measurement.formula for result in members):.0e} "
            f"| {' | '.join(_worst(members, precision) for precision in PRECISIONS)} "
            f"| {defects - missed}/{defects} |"
        )
    lines += ["", summary(results) + "."]
    lines += [f"- {reason}" for reason in reasons(results)]
    if rounded := by_default(results):
        lines += ["", ROUNDED_PRODUCTS, "", *(f"- {line}" for line in rounded)]
    return "\n".join(lines) + "\n"


def _worst(results: Sequence[Result], precision: str) -> str:
    """Our largest error in a precision, and PyTorch's in the same case; a dash where no case has it."""
    found = [result.measurement for result in results if result.case.precision == precision]
    worst = max(found, key=lambda measurement: measurement.ours, default=None)
    return f"{worst.ours:.0e}, {worst.torch:.0e}" if worst else "-"


def reasons(results: Sequence[Result]) -> list[str]:
    """The reasons that cases give, mostly for a wider limit, with the cases that give them."""
    found: dict[str, list[str]] = {}
    for case in (result.case for result in results if result.case.reason):
        found.setdefault(": ".join(filter(None, (limits(case), case.reason))), []).append(f"`{case.name}`")
    return [f"{', '.join(names)}: {why}" for why, names in found.items()]


def by_default(results: Sequence[Result]) -> list[str]:
    """What the device's default precision of products changes: one line for each case that would fail with it."""
    return [
        f"`{result.case.name}`: ours {found.ours:.1e}, torch's {found.torch:.1e}, with all bits ours "
        f"{result.measurement.ours:.1e}"
        for result in results
        if (found := result.by_default) and result.measurement.passed and not found.passed
    ]


def limits(case: Case) -> str:
    """The limits of a case that are wider than usual."""
    wider = []
    if case.formula_limit > FORMULA_LIMIT:
        wider.append(f"formula limit {case.formula_limit:g}")
    if case.precision_factor > PRECISION_FACTOR:
        wider.append(f"{case.precision_factor:g} times torch's error")
    return ", ".join(wider)


def as_json(results: Sequence[Result]) -> str:
    """Every figure, one entry for each case; null where a verdict was not reached or an error is infinite."""
    return json.dumps([entry(result) for result in results], indent=2) + "\n"


def entry(result: Result) -> dict[str, Any]:
    """The figures of one case."""
    return {
        "component": result.case.component,
        "configuration": result.case.configuration,
        "passed": result.passed,
        "formula_error": _finite(result.measurement.formula),
        "precision": result.case.precision,
        "error": _finite(result.measurement.ours),
        "torch_error": _finite(result.measurement.torch),
        "defects": list(result.case.defects),
        "missed": list(result.missed),
        "reason": result.case.reason,
        "failure": result.failure,
        "error_by_default": _finite(result.by_default.ours) if result.by_default else None,
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
