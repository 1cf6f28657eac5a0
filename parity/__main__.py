"""`python -m parity [run | inputs | mutants | speed]`: one command, whose subcommands import only what they need."""

import sys
from importlib import import_module

SUBCOMMANDS = {
    "run": "parity.command",
    "inputs": "parity.torch_inputs.command",
    "mutants": "parity.mutants.command",
    "speed": "parity.speed.command",
}
"""The module of each subcommand, whose `main(arguments)` returns the exit status."""


def main(arguments: list[str]) -> int:
    """Run the subcommand that the first argument names; `run`, if it names none."""
    named = arguments[0] if arguments and arguments[0] in SUBCOMMANDS else ""
    return import_module(SUBCOMMANDS[named or "run"]).main(arguments[1:] if named else arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
