"""`python -m parity speed [NAME ...]`: measure each component beside its counterpart, and whole runs."""

import json
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence

import jax
from rich.console import Console

from parity.markdown import write_markdown
from parity.options import add_json, add_markdown
from parity.speed import report
from parity.speed.compiling import check_h100_compiler
from parity.speed.measure import QUICK, Effort, measure, measure_ahead_of_time, one_core, warm_up
from parity.speed.place import note_on, processor
from parity.speed.runs import command as runs
from parity.speed.scenario import Scenario
from parity.speed.scenarios import all_scenarios
from parity.speed.scenarios.registry import PARAMETERS


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this command."""

    def number(text: str) -> int:
        if int(text) < 1:
            raise ArgumentTypeError(f"must be at least 1, got {text}")
        return int(text)

    parser.add_argument(
        "name", nargs="*", help="only scenarios whose names contain one of these, such as optim.adamw, or train."
    )
    parser.add_argument(
        "--parameters",
        type=number,
        nargs="+",
        default=list(PARAMETERS),
        metavar="N",
        help="how many parameter arrays the optimizers get (default: %(default)s)",
    )
    parser.add_argument(
        "--for",
        dest="device",
        choices=["h100"],
        help="compile for a device that is not here, and count kernels and temporaries instead of taking times",
    )
    parser.add_argument("--quick", action="store_true", help="small batches and few rounds: try the instrument")
    add_json(parser)
    add_markdown(parser, "the tables")
    runs.add_arguments(parser)


def main(options: Namespace) -> int:
    """Measure optimizers, layers and losses beside Optax, Flax and plain JAX."""
    found = [
        scenario
        for scenario in all_scenarios(options.parameters, small=options.quick)
        if not options.name or any(name in scenario.name for name in options.name)
    ]
    tasks = [] if options.device else runs.selected(options.name)
    if not found and not tasks:
        print(f"speed: expected part of a scenario's name, such as optim.adamw, got {options.name}", file=sys.stderr)
        return 2
    # Compile seconds are those of the compiler.
    jax.config.update("jax_enable_compilation_cache", False)
    if options.device:
        try:
            check_h100_compiler()
        except RuntimeError as missing:
            print(f"speed: {missing}", file=sys.stderr)
            return 2
        jax.config.update("jax_platforms", "cpu")  # The plugin only compiles; it is not to look for a GPU.
        note = note_on("an H100, ahead of time")
        results = [measure_ahead_of_time(scenario) for scenario in _track(found)]
        tables = report.sections_ahead_of_time(results, note)
        figures = report.figures(results, note)
    else:
        tables, figures = [], {}
        if tasks:
            # Before this process is kept to one core.
            table, figures = runs.run(tasks, options, lambda what: print(what, file=sys.stderr))
            tables.append(table)
    if found and not options.device:
        effort = QUICK if options.quick else Effort()
        with one_core() as (clock, how):
            warm_up()
            note = note_on(f"{processor()}, {how}")
            results = [measure(scenario, effort, clock) for scenario in _track(found)]
        tables = [*tables, *report.sections(results, note)]
        figures |= report.figures(results, note)

    console = Console(width=None if sys.stdout.isatty() else 200)
    for table in tables:
        console.print(report.rich_table(table))
    console.print(report.summary(tables))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if options.markdown:
        write_markdown(options.markdown, **{table.key: report.markdown(table) for table in tables})
    return 0


def _track(scenarios: Sequence[Scenario]) -> Iterator[Scenario]:
    """One by one; which one it is and how many seconds it took goes to the standard error."""
    for number, scenario in enumerate(scenarios, 1):
        size = "" if scenario.parameters is None else f", {scenario.parameters} parameters"
        print(f"{number}/{len(scenarios)} {scenario.name}{size}", end=" ", file=sys.stderr, flush=True)
        start = time.perf_counter()
        yield scenario
        print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
