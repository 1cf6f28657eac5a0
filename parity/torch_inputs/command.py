"""`python -m parity inputs [NAME]`: how many of PyTorch's own test inputs agree, component by component."""

import argparse
from pathlib import Path

import jax
import torch

from parity.report import write_markdown
from parity.runner import add_processes
from parity.torch_inputs import report
from parity.torch_inputs.runner import all_names, verdicts


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m parity inputs", description=__doc__)
    parser.add_argument("name", nargs="?", default="", help="only components whose name contains this")
    add_processes(parser, "components")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to FILE, or between its markers")
    options = parser.parse_args(arguments)

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
