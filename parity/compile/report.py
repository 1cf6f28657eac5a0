"""Compiled steps as a table."""

from collections.abc import Sequence

from rich.table import Table

from parity.compile.communication import Traffic
from parity.compile.step import Compiled

_HEADER = ("machine", "parameters", "placement", "state a chip", "temporaries", "fits", "collectives a step", "kernels")


def rich_table(results: Sequence[Compiled]) -> Table:
    """For the terminal."""
    table = Table()
    for column in _HEADER:
        table.add_column(column)
    for result in results:
        table.add_row(*_row(result))
    return table


def markdown(results: Sequence[Compiled], note: str) -> str:
    """For the documentation."""
    rows = [_HEADER, ["---"] * len(_HEADER), *map(_row, results)]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", note]) + "\n"


def _row(result: Compiled) -> list[str]:
    known = not result.refused
    return [
        result.machine,
        f"{result.parameters / 1e9:.2g} billion" if result.parameters >= 1e8 else f"{result.parameters:,}",
        result.placement,
        _gigabytes(result.state),
        _gigabytes(result.temporaries) if known else "refused by the compiler",
        "yes" if result.fits else "no",
        _collectives(result.traffic) if known else "",
        f"{result.kernels:,}" if known else "",
    ]


def _collectives(found: dict[str, Traffic] | None) -> str:
    if found is None:
        return "not shown"
    return (
        ", ".join(f"{kind} {traffic.count}× {_gigabytes(traffic.bytes)}" for kind, traffic in found.items()) or "none"
    )


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:.3g} GB"
