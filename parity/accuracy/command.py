"""`python -m parity accuracy [NAME ...]`: the errors of ours and of PyTorch against float64, in each precision."""

import sys
from argparse import ArgumentParser, Namespace

import jax
import torch
from rich.console import Console
from rich.progress import track

from parity import draws
from parity.accuracy import report
from parity.accuracy.measuring import measure_all
from parity.cases import all_cases, cases_named
from parity.markdown import write_markdown
from parity.options import add_drawing, add_json, add_markdown, add_names, add_processes


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this command."""
    add_names(parser, "cases")
    add_processes(parser, "cases")
    add_drawing(parser)
    add_json(parser)
    add_markdown(parser, "the tables")


def main(options: Namespace) -> int:
    """Print the errors, quantity by quantity; this command measures, and `run` judges."""
    draws.use(draws.Drawing(options.seed, options.draws))
    cases = cases_named(all_cases(), options.names)
    console = Console(width=None if sys.stdout.isatty() else 160)
    running = track(
        measure_all(cases, options.processes),
        "Measuring errors",
        total=len(cases),
        console=Console(stderr=True),
        transient=True,
    )
    found = [accuracy for accuracies in running for accuracy in accuracies]
    console.print(report.table(found))
    versions = f"(PyTorch {torch.__version__}, JAX {jax.__version__} on {jax.default_backend()})"
    console.print(f"{report.summary(found)} {versions}.", markup=False)
    if options.json:
        options.json.write_text(report.as_json(found))
    if options.markdown:
        write_markdown(options.markdown, accuracy=report.markdown(found, versions))
    return 0
