"""`python -m parity.databases [NAME]`: how many of PyTorch's own test inputs agree, component by component."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import torch

from parity import torch_databases
from parity.databases import optimizers, registry, report
from parity.databases.verdict import Verdict, judge
from parity.report import write_markdown
from parity.runner import workers


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m parity.databases", description=__doc__)
    parser.add_argument("name", nargs="?", default="", help="only components whose name contains this")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="run N components at a time")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to FILE, or between its markers")
    options = parser.parse_args(arguments)

    if options.processes < 1:
        parser.error(f"--processes must be at least 1, got {options.processes}")
    names = [name for name in all_names() if options.name in name]
    if not names:
        parser.error(f"no component's name contains {options.name!r}")
    found = []
    for verdict in verdicts(names, options.processes):
        found.append(verdict)
        print(report.line(verdict), flush=True)
    versions = f"(PyTorch {torch.__version__}, JAX {jax.__version__} on {jax.default_backend()})"
    print(report.summary(found), versions, *report.reasons(found), sep="\n  ")
    if options.markdown:
        write_markdown(options.markdown, databases=report.markdown(found, versions))
    return 1 if any(verdict.failures for verdict in found) else 0


def all_names() -> list[str]:
    """Every component that the databases have inputs of."""
    return [*map(optimizers.component_of, torch_databases.optimizers()), *registry.components()]


def verdicts(names: Sequence[str], processes: int = 1) -> Iterator[Verdict]:
    """One by one, in order."""
    if processes == 1:
        yield from map(verdict_on, names)
        return
    with workers(processes) as pool:
        yield from pool.map(verdict_on, names)


def verdict_on(component: str) -> Verdict:
    """What all inputs of a component show."""
    jax.clear_caches()
    for torch_name in torch_databases.optimizers():
        if component == optimizers.component_of(torch_name):
            return optimizers.judge(torch_name)
    entries = registry.components()[component]
    trials = [trial for entry in entries for trial in registry.trials(component, entry)]
    error_trials = [trial for entry in entries for trial in registry.error_trials(component, entry)]
    return judge(component, trials, error_trials)


if __name__ == "__main__":
    sys.exit(main())
