"""`python -m parity [COMMAND] [NAME ...]`: compare every component with PyTorch, and measure it."""

import sys
from argparse import ArgumentError, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "run": ("parity.command", "compare every component with PyTorch, case by case (the default)"),
    "accuracy": ("parity.accuracy.command", "measure how far each quantity is from float64, ours and PyTorch's"),
    "inputs": ("parity.torch_inputs.command", "compare on the inputs that PyTorch itself is tested with"),
    "mutants": ("parity.mutants.command", "change the source in one place at a time: do the cases notice?"),
    "compile": ("parity.compile.command", "compile components, examples and a GPT for TPUs and GPUs that are not here"),
    "diff": ("parity.diff.command", "name the first place where a port differs from PyTorch's model, and why"),
    "speed": ("parity.speed.command", "measure each component and its counterpart in JAX"),
}
"""The module of each command, imported only to run it, and what it does.

A module has `add_arguments(parser)` and `main(options)`, which returns the exit status or raises an `ArgumentError`.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; without one, `run`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    given = bool(arguments) and arguments[0] in COMMANDS
    name, rest = (arguments[0], arguments[1:]) if given else ("run", arguments)
    module, description = COMMANDS[name]
    parser = ArgumentParser(
        prog=f"python -m parity {name}" if given else "python -m parity",
        description=f"{description[0].upper()}{description[1:]}.",
        epilog="" if given else _overview(),
        formatter_class=RawDescriptionHelpFormatter,
    )
    try:
        command = import_module(module)
    except ModuleNotFoundError as error:
        if (missing := (error.name or "").partition(".")[0]) in {"jaxtrain", "parity"}:
            raise
        parser.error(f"expected {missing} to be installed, found none; install it with: pip install '.[parity]'")
    command.add_arguments(parser)
    options = parser.parse_args(rest)
    try:
        return command.main(options)
    except ArgumentError as error:
        parser.error(str(error))


def _overview() -> str:
    lines = [f"  {name:9}{description}" for name, (_, description) in COMMANDS.items()]
    return "\n".join(["commands, each with its own --help:", *lines])


if __name__ == "__main__":
    sys.exit(main())
