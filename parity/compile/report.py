"""What was compiled, as tables."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.table import Table

from parity.compile.communication import Traffic
from parity.compile.components import Component
from parity.compile.step import PLACEMENTS, Compiled


class Section(NamedTuple):
    """A table: what its columns show, and its cells."""

    header: tuple[str, ...]
    rows: list[list[str]]


def steps(results: Sequence[Compiled]) -> Section:
    """A row for each step under each placement."""
    header = (
        "machine", "step", "parameters", "placement", "state a chip", "temporaries", "fits", "collectives a step",
        "kernels",
    )  # fmt: skip
    return Section(header, [_step(result) for result in results])


def fitting(results: Sequence[Compiled]) -> Section:
    """Which placements fit: a row for each machine and step."""
    found: dict[tuple[str, str], list[Compiled]] = {}
    for result in results:
        found.setdefault((result.machine, result.step), []).append(result)
    rows = []
    for (machine, step), group in found.items():
        by_placement = {result.placement: result for result in group}
        cells = [_fits(by_placement.get(name)) for name in PLACEMENTS]
        rows.append([machine, f"{step}, {_count(group[0].parameters)}", *cells])
    return Section(("machine", "step", *PLACEMENTS), rows)


def components(results: Sequence[Component]) -> Section:
    """A row for each machine and room."""
    found: dict[tuple[str, str], list[Component]] = {}
    for result in results:
        found.setdefault((result.machine, result.room), []).append(result)
    rows = [
        [
            machine,
            f"`{room}`",
            f"{len(group):,}",
            f"{sum(one.programs for one in group):,}",
            f"{sum(one.kernels for one in group):,}",
            _bytes(max(one.temporaries for one in group)),
            ", ".join(f"`{one.name}`" for one in group if one.refused) or "none",
        ]
        for (machine, room), group in found.items()
    ]
    return Section(("machine", "room", "components", "programs", "kernels", "most temporaries", "refused"), rows)


def each_component(results: Sequence[Component]) -> Section:
    """A row for each component."""
    rows = [
        [one.machine, one.name, str(one.programs), f"{one.kernels:,}", _bytes(one.temporaries), one.refused or "no"]
        for one in results
    ]
    return Section(("machine", "component", "programs", "kernels", "temporaries", "refused"), rows)


def rich_table(section: Section) -> Table:
    """For the terminal."""
    table = Table()
    for column in section.header:
        table.add_column(column)
    for row in section.rows:
        table.add_row(*row)
    return table


def markdown(section: Section, note: str) -> str:
    """For the documentation."""
    rows: Iterable[Iterable[str]] = [section.header, ["---"] * len(section.header), *section.rows]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", note]) + "\n"


def _step(result: Compiled) -> list[str]:
    known = not result.refused
    return [
        result.machine,
        result.step,
        _count(result.parameters),
        result.placement,
        _bytes(result.state),
        _bytes(result.temporaries) if known else "refused by the compiler",
        "yes" if result.fits else "no",
        _collectives(result.traffic) if known else "",
        f"{result.kernels:,}" if known else "",
    ]


def _fits(result: Compiled | None) -> str:
    """Whether it fits, and what of a chip's memory it takes."""
    if result is None:
        return ""
    if result.refused:
        return "no"
    share = (result.state + result.temporaries) / result.memory
    return f"{'yes' if result.fits else 'no'}, {share:.0%}"


def _collectives(found: dict[str, Traffic] | None) -> str:
    if found is None:
        return "not shown"
    return ", ".join(f"{kind} {traffic.count:,}× {_bytes(traffic.bytes)}" for kind, traffic in found.items()) or "none"


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.2g} billion" if parameters >= 1e8 else f"{parameters:,}"


def _bytes(number: float) -> str:
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= limit:
            return f"{number / limit:.3g} {unit}"
    return f"{number:.0f} B"
