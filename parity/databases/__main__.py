"""`python -m parity.databases [NAME]`: how many of PyTorch's own test inputs agree, component by component."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import torch

from parity import torch_databases
from parity.databases import optimizers, registry, report
from parity.databases.verdict import Verdict, judge
from parity.report import write_markdown


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m parity.databases", description=__doc__)
    parser.add_argument("name", nargs="?", default="", help="only components whose name contains this")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to FILE, or between its markers")
    options = parser.parse_args(arguments)

    found = []
    for verdict in verdicts(options.name):
        jax.clear_caches()
        found.append(verdict)
        print(report.line(verdict), flush=True)
    if not found:
        parser.error(f"no component's name contains {options.name!r}")
    versions = f"(PyTorch {torch.__version__}, JAX {jax.__version__} on {jax.default_backend()})"
    print(report.summary(found), versions, *report.reasons(found), sep="\n  ")
    if options.markdown:
        write_markdown(options.markdown, databases=report.markdown(found, versions))
    return 1 if any(verdict.failures for verdict in found) else 0


def verdicts(name: str) -> Iterator[Verdict]:
    """One by one, for the components whose name contains `name`."""
    for torch_name in torch_databases.optimizers():
        if name in optimizers.component_of(torch_name):
            yield optimizers.judge(torch_name)
    for component, entries in registry.components().items():
        if name in component:
            trials = [trial for entry in entries for trial in registry.trials(component, entry)]
            error_trials = [trial for entry in entries for trial in registry.error_trials(component, entry)]
            yield judge(component, trials, error_trials)


if __name__ == "__main__":
    sys.exit(main())
