"""The measurements as tables on the terminal, as Markdown and as JSON."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from parity.speed.measure import AheadOfTime, Measurement
from parity.speed.scenario import Scenario
from parity.speed.timing import Samples, quartiles

RUN_LIMITS = {"optim": 1.05, "nn": 1.03, "losses": 1.03}
"""How much longer than its counterpart a program of a room may run."""
BUILD_LIMIT = 1.3
"""How much longer an optimizer may take to compile."""
ROOMS = {"optim": "Optimizers", "nn": "Layers", "losses": "Losses"}

Cell = tuple[str, bool]
"""What a cell says, and whether it lies above its limit."""


class Section(NamedTuple):
    """A table.

    Attributes:
        key: names its place in a Markdown file.
        title: what it shows.
        header: what its columns show.
        rows: its cells.
        note: how it was measured.
    """

    key: str
    title: str
    header: tuple[str, ...]
    rows: list[list[Cell]]
    note: str


def sections(results: Sequence[Measurement], note: str) -> list[Section]:
    """A table for each room that was measured, and one of what grows with the number of parameters."""
    header = (
        "component",
        "counterpart",
        "parameters",
        "µs a call: ours, theirs",
        "ratio (middle half)",
        "of the fastest",
        "compile s: ours, theirs",
        "ratio",
        "temporaries: ours, theirs",
    )
    tables = _by_room("speed", results, header, _row, note)
    if growth := _growth(results):
        tables.insert(1, Section("speed-growth", "Growth", *growth, note))
    return tables


def sections_ahead_of_time(results: Sequence[AheadOfTime], note: str) -> list[Section]:
    """A table for each room that was compiled for an H100."""
    header = ("component", "counterpart", "parameters", "kernels: ours, theirs", "temporaries: ours, theirs")
    return _by_room("speed-h100", results, header, _row_ahead_of_time, note)


def rich_table(section: Section) -> Table:
    """For the terminal; what lies above its limit is bold."""
    table = Table(title=section.title, caption=section.note)
    for column in section.header:
        table.add_column(column, overflow="fold")
    for row in section.rows:
        table.add_row(*(Text(text, style="bold red" if above else "") for text, above in row))
    return table


def markdown(section: Section) -> str:
    """For the documentation; what lies above its limit is bold."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    rows = [[f"**{text}**" if above else text for text, above in row] for row in section.rows]
    lines = [line(section.header), line(["---"] * len(section.header)), *map(line, rows), "", section.note]
    return "\n".join(lines) + "\n"


def summary(tables: Sequence[Section]) -> str:
    """How many figures lie above their limits."""
    above = sum(limited for table in tables for row in table.rows for _, limited in row)
    return f"{above} figures above their limits, in {sum(len(table.rows) for table in tables)} rows"


def figures(results: Sequence[Measurement | AheadOfTime], note: str) -> dict[str, Any]:
    """Every figure, a scenario an entry."""
    return {"measured": note, "scenarios": [_entry(result) for result in results]}


def _by_room(
    key: str, results: Sequence[Any], header: tuple[str, ...], row: Callable[[Any], list[Cell]], note: str
) -> list[Section]:
    found: dict[str, list[list[Cell]]] = {}
    sized: set[str] = set()
    for result in results:
        room = result.scenario.room
        found.setdefault(room, []).append(row(result))
        if result.scenario.parameters is not None:
            sized.add(room)
    tables = []
    for room, rows in found.items():
        columns = [index for index, column in enumerate(header) if column != "parameters" or room in sized]
        tables.append(
            Section(
                f"{key}-{ROOMS[room].lower()}",
                ROOMS[room],
                tuple(header[index] for index in columns),
                [[cells[index] for index in columns] for cells in rows],
                note,
            )
        )
    return tables


def _names(scenario: Scenario) -> list[Cell]:
    parameters = "" if scenario.parameters is None else str(scenario.parameters)
    return [(f"`{scenario.name}`", False), (f"`{scenario.counterpart}`", False), (parameters, False)]


def _row(result: Measurement) -> list[Cell]:
    run, build = result.run, result.build
    low, high = quartiles(run.ratios)
    room = result.scenario.room
    return [
        *_names(result.scenario),
        (_pair(run.medians, 1e6), False),
        (f"{run.ratio:.3f} ± {run.uncertainty:.3f} ({low:.2f} to {high:.2f})", run.ratio > RUN_LIMITS[room]),
        (f"{run.fastest_ratio:.2f}", False),
        (_pair(build.medians), False),
        (f"{build.ratio:.2f}", room == "optim" and build.ratio > BUILD_LIMIT),
        (_bytes_pair(result.temporaries), False),
    ]


def _row_ahead_of_time(result: AheadOfTime) -> list[Cell]:
    limit = RUN_LIMITS[result.scenario.room]
    our_kernels, their_kernels = result.kernels
    ours, theirs = result.temporaries
    # Some partial sums more do not count; memory of at least a hundredth of the arguments does.
    above = ours > limit * theirs and ours - theirs > result.arguments / 100
    return [
        *_names(result.scenario),
        (f"{our_kernels:,}, {their_kernels:,}", our_kernels > limit * their_kernels),
        (_bytes_pair(result.temporaries), above),
    ]


def _growth(results: Sequence[Measurement]) -> tuple[tuple[str, ...], list[list[Cell]]] | None:
    """How many times more the largest number of parameters costs than the smallest."""
    sizes = sorted({result.scenario.parameters for result in results if result.scenario.parameters is not None})
    if len(sizes) < 2:
        return None
    rows: list[list[Cell]] = []
    for name in dict.fromkeys(result.scenario.name for result in results if result.scenario.parameters is not None):
        members = {result.scenario.parameters: result for result in results if result.scenario.name == name}
        small, large = members[sizes[0]], members[sizes[-1]]
        rows.append(
            [
                (f"`{name}`", False),
                (_times(large.build, small.build), False),
                (_times(large.run, small.run), False),
                (", ".join(_share(a, b) for a, b in zip(large.temporaries, small.temporaries, strict=True)), False),
            ]
        )
    what = f"from {sizes[0]} to {sizes[-1]} parameters"
    return ("component", f"compile, {what}: ours, theirs", "run: ours, theirs", "temporaries: ours, theirs"), rows


def _times(large: Samples, small: Samples) -> str:
    return ", ".join(_share(a, b) for a, b in zip(large.medians, small.medians, strict=True))


def _share(large: float, small: float) -> str:
    return f"{large / small:.3g}×" if small else "-"


def _pair(values: tuple[float, float], factor: float = 1) -> str:
    return ", ".join(f"{value * factor:,.0f}" if value * factor >= 100 else f"{value * factor:.3g}" for value in values)


def _bytes_pair(values: tuple[int, int]) -> str:
    return ", ".join(map(_bytes, values))


def _bytes(number: int) -> str:
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} B"


def _entry(result: Measurement | AheadOfTime) -> dict[str, Any]:
    scenario = result.scenario
    entry: dict[str, Any] = {
        "component": scenario.component,
        "configuration": scenario.configuration,
        "counterpart": scenario.counterpart,
        "parameters": scenario.parameters,
        "temporaries": list(result.temporaries),
    }
    if isinstance(result, AheadOfTime):
        return {**entry, "kernels": list(result.kernels), "arguments": result.arguments}
    for name, samples in (("run", result.run), ("trace", result.trace), ("compile", result.compile)):
        entry[name] = {"ours": samples.ours, "theirs": samples.theirs, "ratio": samples.ratio}
    return {**entry, "build_ratio": result.build.ratio, "run_uncertainty": result.run.uncertainty}
