"""`python -m parity mutants [NAME ...]`: how many small bugs in the source would the cases and the tests notice?"""

import tempfile
from argparse import ArgumentError, ArgumentParser, Namespace
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from parity.markdown import write_markdown
from parity.mutants import report
from parity.mutants.catching import ENDED, Verdict, check_unchanged, verdict_on
from parity.mutants.mutants import Mutant, mutants_of, sample
from parity.mutants.reach import TESTS, modules, path_of, record
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
    parser.add_argument(
        "--record", type=Path, metavar="FOLDER", help="keep in FOLDER which tests run which lines, and use it again"
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
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.processes) as pool:
        run = record({mutant.room for mutant in drawn}, options.record or Path(folder), options.processes)

        for room in sorted({mutant.room for mutant in drawn}):
            first = next(mutant for mutant in drawn if mutant.room == room)
            check_unchanged(first.module, run.tests_of(first.module, first.lines))

        def verdict(mutant: Mutant) -> Verdict:  # Each thread waits for one process after the other.
            tests = run.tests_of(mutant.module, mutant.lines)
            found = verdict_on(mutant, tests)
            if found.caught_by == ENDED:
                check_unchanged(mutant.module, tests)
            return found

        for number, found in enumerate(pool.map(verdict, drawn), 1):
            verdicts.append(found)
            print(f"{number}/{len(drawn)} {report.line(found)}", flush=True)
    print(report.summary(verdicts, possible))
    if options.json:
        options.json.write_text(report.as_json(verdicts))
    if options.markdown:
        write_markdown(options.markdown, mutants=report.markdown(verdicts, possible, options.seed))
    return 1 if report.survivors(verdicts) else 0
