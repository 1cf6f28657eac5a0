"""`python -m parity mutants [NAME ...]`: how many small bugs in the source would the cases and the tests notice?"""

import tempfile
import time
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from parity.markdown import write_markdown
from parity.mutants import report
from parity.mutants.catching import Checks, Verdict, verdict_on
from parity.mutants.draw import sample
from parity.mutants.mutants import Mutant, mutants_of, unchanged
from parity.mutants.reach import components_of, modules, path_of
from parity.mutants.record import TESTS, Record, record
from parity.options import add_json, add_markdown, add_names, add_processes, named


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this command."""
    add_names(parser, "mutants of files")
    add_processes(parser, "mutants")
    add_json(parser)
    add_markdown(parser, "the table of rooms")
    parser.add_argument(
        "--sample",
        type=int,
        default=20,
        metavar="N",
        help="N mutants of each room, from each file in turn; 0 for all (default: 20)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which ones are drawn (default: 0)")
    parser.add_argument("--minutes", type=float, metavar="N", help="begin no more mutants after N minutes")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FOLDER",
        help="keep in FOLDER which tests run which lines, and compiled programs, and use them again",
    )


def main(options: Namespace) -> int:
    """Print what notices each mutant; 1 if one survives unexplained."""
    if not TESTS.is_dir() or find_spec("pytest_cov") is None:
        raise ArgumentError(
            None, "expected a checkout with its tests and pytest-cov; install it with: pip install --editable '.[test]'"
        )
    files = named(modules(), options.names, "a file, such as optim/adam.py", lambda name: path_of(name).as_posix())
    possible = [mutant for module in files for mutant in mutants_of(module, path_of(module).read_text())]
    drawn = sample(possible, options.sample or len(possible), options.seed)
    verdicts = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.record or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        tests = record({mutant.room for mutant in drawn}, folder, options.processes)
        for found in _verdicts(drawn, tests, folder / "programs", options):
            verdicts.append(found)
            print(f"{len(verdicts)}/{len(drawn)} {report.line(found)}", flush=True)
        print(report.summary(verdicts, possible, options.seed))
        check_unchanged(verdicts, tests, folder / "programs")
    if options.json:
        options.json.write_text(report.as_json(verdicts))
    if options.markdown:
        write_markdown(options.markdown, mutants=report.markdown(verdicts, possible, options.seed))
    return 1 if any(verdict.survived for verdict in verdicts) else 0


def checks_of(mutant: Mutant, tests: Record) -> Checks:
    """What runs on a mutant: the nearest and quickest first, all that run the changed line at last."""
    near, others = tests.tests_of(path_of(mutant.module), mutant.lines)
    return Checks(near, components_of(mutant.module), others)


def check_unchanged(verdicts: Sequence[Verdict], tests: Record, programs: Path) -> None:
    """Raise if what caught mutants fails on the files as they stand, too: it says nothing."""
    caught = [verdict for verdict in verdicts if verdict.caught_by]
    names = list(dict.fromkeys(str(verdict.caught_by) for verdict in caught))
    of_tests = [name for name in names if "::" in name]
    of_cases = [name for name in names if name.endswith("]") and name not in of_tests]
    to_run = [(caught[0].mutant, Checks(of_tests, of_cases))] if of_tests or of_cases else []
    # Whatever else ended a process has no name to run: everything that ran there runs again.
    nameless = [verdict.mutant for verdict in caught if verdict.caught_by not in (*of_tests, *of_cases)]
    to_run += [(mutant, checks_of(mutant, tests)) for mutant in nameless]
    for mutant, checks in to_run:
        found = verdict_on(unchanged(mutant.module, mutant.source), checks, programs)
        if found.caught_by or found.unfinished:
            raise RuntimeError(
                f"mutants: expected the files as they stand to pass, got {found.caught_by or found.unfinished}"
            )


def _verdicts(drawn: Sequence[Mutant], tests: Record, programs: Path, options: Namespace) -> Iterator[Verdict]:
    """The verdicts in the order of the mutants, until the time is up."""
    end = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")

    def verdict(mutant: Mutant, checks: Checks) -> Verdict | None:  # Each thread waits for one process after the other.
        return verdict_on(mutant, checks, programs) if time.monotonic() < end else None

    # Not in the threads: Python 3.11 parses in one at a time, and fails where another begins.
    checks = [checks_of(mutant, tests) for mutant in drawn]
    with ThreadPoolExecutor(options.processes) as pool:
        yield from filter(None, pool.map(verdict, drawn, checks))
