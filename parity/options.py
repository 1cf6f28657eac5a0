"""The options that commands share, each declared once."""

from argparse import ArgumentError, ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")


def add_names(parser: ArgumentParser, what: str) -> None:
    """Which of its subjects a command takes: `options.names`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only {what} whose name contains NAME")


def add_processes(parser: ArgumentParser, what: str) -> None:
    """How many subjects a command runs at a time: `options.processes`."""
    parser.add_argument(
        "--processes", type=at_least_one, default=1, metavar="N", help=f"run N {what} at a time (default: 1)"
    )


def add_drawing(parser: ArgumentParser) -> None:
    """How the cases draw their inputs: `options.seed` and `options.draws`."""
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="draw other inputs: N is added to every seed")
    parser.add_argument(
        "--draws", type=at_least_one, metavar="N", help="judge precision after N draws (default: as many as it takes)"
    )


def add_json(parser: ArgumentParser) -> None:
    """Where a command writes its figures: `options.json`."""
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write every figure to FILE")


def add_markdown(parser: ArgumentParser, what: str) -> None:
    """Where a command writes its tables: `options.markdown`."""
    parser.add_argument(
        "--markdown", type=new_file, metavar="FILE", help=f"write {what} to FILE, or between its markers"
    )


def named(items: Iterable[Item], names: Sequence[str], what: str, name_of: Callable[[Item], str]) -> list[Item]:
    """The items whose name contains one of `names`; all if there are no names.

    Raises:
        ArgumentError: if a name is in none of them.
    """
    items = list(items)
    for name in names:
        if not any(name in name_of(item) for item in items):
            raise ArgumentError(None, f"expected part of the name of {what}, got {name!r}; without a name all run")
    return [item for item in items if not names or any(name in name_of(item) for name in names)]


def new_file(text: str) -> Path:
    """Where a command will write, in a folder that exists: it is asked before the work, not after it."""
    path = Path(text)
    if not path.absolute().parent.is_dir():
        raise ArgumentTypeError(f"expected the folder of {path} to exist, found none; make it first")
    return path


def at_least_one(text: str) -> int:
    if int(text) < 1:
        raise ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return int(text)
