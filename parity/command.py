"""`python -m parity run [NAME ...]`: both verdicts on every case, and every planted defect."""

import sys
from argparse import ArgumentError, ArgumentParser, Namespace

import jax
import torch
from rich.console import Console
from rich.progress import track

from parity import deviations, draws, report, seeds
from parity.cases import all_cases, cases_named
from parity.markdown import write_markdown
from parity.options import add_drawing, add_json, add_markdown, add_names, add_processes, at_least_one
from parity.runner import run_all


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this command."""
    add_names(parser, "cases")
    add_processes(parser, "cases")
    add_drawing(parser)
    parser.add_argument(
        "--seeds",
        type=at_least_one,
        metavar="N",
        help="run all with the seeds 0 to N-1, with 1, 2 and 8 threads, and with the instructions of AVX2 only",
    )
    parser.add_argument(
        "--here", action="store_true", help="with --seeds: with the threads and instructions of this process"
    )
    add_json(parser)
    add_markdown(parser, "the tables of components and of deviations")


def main(options: Namespace) -> int:
    """Print the table of cases; 1 if any fails."""
    if options.seeds:
        return seeds.here(options) if options.here else seeds.main(options)
    if options.here:
        raise ArgumentError(None, "--here: expected --seeds with it, got none; a single run is always here")
    draws.use(draws.Drawing(options.seed, options.draws))
    cases = cases_named(all_cases(), options.names)
    missing = [f"{case.name} ({case.torch_since})" for case in cases if not case.is_here]
    cases = [case for case in cases if case.is_here]
    console = Console(width=None if sys.stdout.isatty() else 160)
    running = run_all(cases, options.processes)
    results = list(
        track(running, "Comparing with PyTorch", total=len(cases), console=Console(stderr=True), transient=True)
    )
    console.print(report.table(results))
    for reason in report.reasons(results):
        console.print(reason, markup=False)
    if rounded := report.by_default(results):
        console.print(report.ROUNDED_PRODUCTS, *rounded, sep="\n", markup=False)
    if missing:
        line = f"Not run, for they need a newer PyTorch than {torch.__version__}: {', '.join(missing)}."
        console.print(line, markup=False)
    console.print(
        f"{report.summary(results)} (PyTorch {torch.__version__}, JAX {jax.__version__} on {jax.default_backend()})."
    )
    if options.json:
        options.json.write_text(report.as_json(results))
    if options.markdown:
        write_markdown(options.markdown, parity=report.markdown(results), deviations=deviations.markdown())
    return 0 if all(result.passed for result in results) else 1
