"""`python -m parity diff MODULE:FUNCTION`: compare a port with its original."""

import importlib
import importlib.util
import sys
import time
import traceback
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from parity.diff.report import Report
from parity.options import add_json, new_file


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "function",
        nargs="*",
        metavar="MODULE:FUNCTION",
        help="a function without arguments that returns what parity.diff.compare returned; MODULE may be a file. With "
        "--bench: only mistakes whose model or name contains this",
    )
    parser.add_argument("--bench", action="store_true", help="find the mistakes planted in ports of small models")
    add_json(parser)
    parser.add_argument("--cost", action="store_true", help="print the time and the memory that the comparison took")
    parser.add_argument("--html", type=new_file, metavar="FILE", help="write a page with pictures to FILE")


def main(options: Namespace) -> int:
    """0 if the port is right, 1 if it differs, 2 if the function fails."""
    if options.bench:
        from parity.diff.bench import command

        return command.main(options)
    if len(options.function) != 1:
        raise ArgumentError(None, "expected MODULE:FUNCTION, such as port_check.py:check, or --bench")
    started = time.perf_counter()
    try:
        report = loaded(options.function[0])()
    except ArgumentError:
        raise
    except (Exception, SystemExit):
        # Python would end with 1, which says that the port differs, or with the function's own status.
        traceback.print_exc()
        return 2
    if not isinstance(report, Report):
        raise ArgumentError(
            None, f"expected {options.function[0]} to return a parity.diff.Report, got {type(report).__name__}"
        )
    report.print(Console(width=None if sys.stdout.isatty() else 110))
    if options.cost:
        print(cost(started))
    if options.json:
        options.json.write_text(report.as_json())
    if options.html:
        from parity.diff.html import as_html

        options.html.write_text(as_html(report, options.function[0]))
    return 0 if report.same else 1


def cost(started: float) -> str:
    """The seconds since then, and the CPU time and the largest memory of this process."""
    text = f"{time.perf_counter() - started:.0f} s, {time.process_time():.0f} s of CPU time"
    try:
        import resource
    except ImportError:  # Windows does not tell.
        return text
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{text}, peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.1f} GB"


def loaded(name: str) -> Callable[[], Any]:
    """The function that MODULE:FUNCTION names."""
    place, _, function = name.rpartition(":")
    if not place or not function:
        raise ArgumentError(None, f"expected MODULE:FUNCTION, such as port_check.py:check, got {name!r}")
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            if spec is None or spec.loader is None or not Path(place).exists():
                raise ModuleNotFoundError(f"no file {place}", name=place)
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
        else:
            sys.path.insert(0, "")
            module = importlib.import_module(place)
        return getattr(module, function)
    except (ModuleNotFoundError, AttributeError, ValueError) as error:
        # A module that exists may lack another one.
        if isinstance(error, ModuleNotFoundError) and not f"{place}.".startswith(f"{error.name}."):
            raise
        raise ArgumentError(None, f"expected MODULE:FUNCTION that exists, got {name!r}: {error}") from error
