"""`python -m parity inputs [NAME ...]`: how many of PyTorch's own test inputs agree, component by component."""

from argparse import ArgumentParser, Namespace

import jax
import torch

from parity.markdown import write_markdown
from parity.options import add_json, add_markdown, add_names, add_processes, named
from parity.torch_inputs import report
from parity.torch_inputs.runner import ONLY_BY_NAME, all_names, findings, usual_names


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this command."""
    add_names(parser, "components")
    add_processes(parser, "components")
    add_json(parser)
    add_markdown(parser, "the table")


def main(options: Namespace) -> int:
    """Print the figures of each component; 1 if any input fails."""
    known = all_names() if options.names else usual_names()
    names = named(known, options.names, "a component, such as losses.huber_loss", str)
    found = []
    for one in findings(names, options.processes):
        found.append(one)
        print(report.line(one), flush=True)
    versions = f"(PyTorch {torch.__version__}, JAX {jax.__version__} on {jax.default_backend()})"
    print(report.summary(found), versions, *report.reasons(found), sep="\n  ")
    if not options.names:
        print("Not run, because not named:", *(f"{name} ({why})" for name, why in ONLY_BY_NAME.items()), sep="\n  ")
    if options.json:
        options.json.write_text(report.as_json(found))
    if options.markdown:
        write_markdown(options.markdown, databases=report.markdown(found, versions))
    return 1 if any(one.failures for one in found) else 0
