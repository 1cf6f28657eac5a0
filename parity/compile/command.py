"""`python -m parity compile --for v5e:4x4`: a GPT's step for machines that are not here."""

import datetime
import sys
from argparse import ArgumentError, ArgumentParser, Namespace
from importlib.metadata import version
from pathlib import Path

import jax
from rich.console import Console

from parity.compile import report
from parity.compile.gpt import SIZES
from parity.compile.machine import Machine
from parity.compile.step import PLACEMENTS, compile_step
from parity.markdown import write_markdown
from parity.options import at_least_one


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "--for",
        dest="machines",
        nargs="+",
        required=True,
        metavar="MACHINE",
        help="kinds and numbers of chips, such as v5e:4x4, v5p:4x4x4 or h100x8",
    )
    parser.add_argument("--size", nargs="+", choices=SIZES, default=["1.3b", "7b"], help="parameters of the GPT")
    parser.add_argument("--placement", nargs="+", choices=PLACEMENTS, default=list(PLACEMENTS))
    parser.add_argument(
        "--sequences", type=at_least_one, default=4, metavar="N", help="rows of the batch for each chip (default: 4)"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to FILE, or between its markers")


def main(options: Namespace) -> int:
    """Print what each placement takes of each machine. Nothing runs: no figure is a time."""
    jax.config.update("jax_platforms", "cpu")  # The plugins only compile; they are not to look for a device.
    try:
        machines = [Machine.of(name) for name in options.machines]
    except ValueError as error:
        raise ArgumentError(None, str(error)) from error
    except RuntimeError as missing:
        print(f"compile: {missing}", file=sys.stderr)
        return 2
    console = Console(width=None if sys.stdout.isatty() else 160)
    results = []
    for machine in machines:
        for size in options.size:
            for placement in options.placement:
                with console.status(f"{machine.name} {size} {placement}"):
                    results.append(compile_step(machine, size, placement, options.sequences))
    console.print(report.rich_table(results))
    if options.markdown:
        key = f"compile-{'-'.join(sorted({name.partition(':')[0].partition('x')[0] for name in options.machines}))}"
        write_markdown(options.markdown, **{key: report.markdown(results, _note(options.sequences))})
    return 0


def _note(sequences: int) -> str:
    versions = ", ".join(f"{name} {version(name.lower())}" for name in ("JAX", "Flax", "Optax"))
    return f"{datetime.date.today()}: {sequences} sequences of 1,024 tokens a chip; {versions}. Compiled, not run."
