"""`python -m parity compile --for v5e:4x4`: programs for machines that are not here."""

import datetime
import sys
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from importlib.metadata import version

import jax
from rich.console import Console
from rich.progress import Progress

from parity.compile import examples, gpt, report
from parity.compile.components import cases, compile_component
from parity.compile.machine import Machine
from parity.compile.step import PLACEMENTS, Step, compile_step
from parity.markdown import write_markdown
from parity.options import add_markdown, at_least_one

WHAT = ("components", "examples", "gpt")


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "what",
        nargs="*",
        metavar="WHAT",
        help="components (each one's programs), examples (the steps of the scripts), gpt (default: all three)",
    )
    parser.add_argument(
        "--for",
        dest="machines",
        nargs="+",
        required=True,
        metavar="MACHINE",
        help="kinds and numbers of chips, such as v5e:4x4, v5p:4x4x4 or h100x8",
    )
    parser.add_argument("--size", nargs="+", choices=gpt.SIZES, default=["1.3b", "7b"], help="parameters of the GPT")
    parser.add_argument("--placement", nargs="+", choices=PLACEMENTS, default=list(PLACEMENTS))
    parser.add_argument(
        "--sequences",
        type=at_least_one,
        default=4,
        metavar="N",
        help="rows of the GPT's batch for each chip (default: 4)",
    )
    add_markdown(parser, "the tables")


def main(options: Namespace) -> int:
    """Print what the programs need on each machine. Nothing runs: no figure is a time."""
    what = options.what or WHAT
    if unknown := set(what) - set(WHAT):
        raise ArgumentError(None, f"expected components, examples or gpt, got {', '.join(sorted(unknown))}")
    jax.config.update("jax_platforms", "cpu")  # The plugins only compile; they are not to look for a device.
    try:
        machines = [Machine.of(name) for name in options.machines]
        all_cases = cases() if "components" in what else []
        steps = examples.steps() if "examples" in what else []
    except ValueError as error:
        raise ArgumentError(None, str(error)) from error
    except RuntimeError as missing:
        print(f"compile: {missing}", file=sys.stderr)
        return 2
    of_gpt = [gpt.step(size, options.sequences) for size in options.size] if "gpt" in what else []

    console = Console(width=None if sys.stdout.isatty() else 200)
    kinds = "-".join(dict.fromkeys(map(_kind, machines)))

    def show(key: str, section: report.Section, note: str) -> None:
        console.print(report.rich_table(section))
        if options.markdown:
            write_markdown(options.markdown, **{f"compile-{key}-{kinds}": report.markdown(section, _note(note))})

    failed = []
    if all_cases:
        found = [compile_component(machine, case) for machine, case in _track(_of_each_kind(machines), all_cases)]
        console.print(report.rich_table(report.each_component(found)))
        show("components", report.components(found), "one chip")
        failed += [f"{one.machine} {one.name}: {one.refused}" for one in found if one.refused]
    for key, some, note in (
        ("examples", steps, "64 rows a chip"),
        ("gpt", of_gpt, f"{options.sequences} sequences of 1,024 tokens a chip"),
    ):
        placed = [
            compile_step(machine, step, name)
            for machine, (step, name) in _track(machines, _placed(some, options.placement))
        ]
        failed += [f"{one.machine} {one.step} {one.placement}: {one.refused}" for one in placed if one.failed]
        if placed:
            show(key, report.steps(placed), note)
        if placed and key == "gpt":
            show("fits", report.fitting(placed), note)
    for line in failed:
        console.print(line, markup=False)
    return 1 if failed else 0


def _kind(machine: Machine) -> str:
    """TPUs have one compiler, and H100s another."""
    return "h100" if machine.name.startswith("h100") else "tpu"


def _of_each_kind(machines: Sequence[Machine]) -> list[Machine]:
    """One machine of each kind of chip: a component runs on one."""
    return list({machine.name.partition(":")[0].partition("x")[0]: machine for machine in machines}.values())


def _placed(steps: Sequence[Step], placements: Sequence[str]) -> list[tuple[Step, str]]:
    """Each step under each placement that it can have."""
    return [(step, name) for step in steps for name in placements if step.rules or name in ("data", "sharded")]


def _track(machines: Sequence[Machine], programs: Sequence) -> Iterator[tuple]:
    """Every program for every machine, with a progress bar."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(machines) * len(programs))
        for machine in machines:
            for program in programs:
                progress.update(task, description=machine.name)
                yield machine, program
                progress.advance(task)


def _note(rows: str) -> str:
    versions = ", ".join(f"{name} {version(name.lower())}" for name in ("JAX", "Flax", "Optax"))
    return f"{datetime.date.today()}: {rows}; {versions}. Compiled, not run."
