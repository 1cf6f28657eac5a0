"""`python -m parity run [NAME]`: prove every component against PyTorch, here and now."""

import argparse
import sys
from pathlib import Path

import jax
import torch
from rich.console import Console
from rich.progress import track

from parity import deviations, report
from parity.cases import matching
from parity.runner import add_processes, run_all


def main(arguments: list[str] | None = None) -> int:
    """Compare every case, or those whose name contains the argument."""
    parser = argparse.ArgumentParser(
        prog="python -m parity run", description="Compare jaxtrain with PyTorch, executed."
    )
    parser.add_argument("name", nargs="?", default="", help="only cases whose name contains this, such as optim.adam")
    add_processes(parser, "cases")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    parser.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="write the tables of components and of deviations to FILE, or between its markers",
    )
    options = parser.parse_args(arguments)

    cases = matching(options.name)
    if not cases:
        parser.error(f"no case's name contains {options.name!r}; without a name all cases run")
    console = Console(width=None if sys.stdout.isatty() else 160)
    running = run_all(cases, options.processes)
    results = list(
        track(running, "Comparing with PyTorch", total=len(cases), console=Console(stderr=True), transient=True)
    )
    console.print(report.table(results))
    for reason in report.reasons(results):
        console.print(reason, markup=False)
    console.print(
        f"{report.summary(results)} (PyTorch {torch.__version__}, JAX {jax.__version__} on {jax.default_backend()})."
    )
    if options.json:
        options.json.write_text(report.as_json(results))
    if options.markdown:
        report.write_markdown(options.markdown, parity=report.markdown(results), deviations=deviations.markdown())
    return 0 if all(result.passed for result in results) else 1
