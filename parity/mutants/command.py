"""`python -m parity mutants [NAME ...]`: how many small bugs in the source would the cases catch?"""

from argparse import ArgumentParser, Namespace
from concurrent.futures import ThreadPoolExecutor

from parity.mutants import report
from parity.mutants.catching import verdict_on
from parity.mutants.mutants import mutants_of, spread
from parity.mutants.reach import modules, path_of
from parity.options import add_json, add_names, add_processes, named


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this command."""
    add_names(parser, "mutants of files")
    add_processes(parser, "mutants")
    add_json(parser)
    parser.add_argument(
        "--number",
        type=int,
        default=100,
        metavar="N",
        help="N mutants, from each file in turn; 0 for all (default: 100)",
    )


def main(options: Namespace) -> int:
    """Print what catches each mutant; 1 if one survives unexplained."""
    files = named(modules(), options.names, "a file, such as optim/adam.py", lambda name: path_of(name).as_posix())
    possible = [mutant for module in files for mutant in mutants_of(module, path_of(module).read_text())]
    drawn = spread(possible, options.number or len(possible))
    verdicts = []
    with ThreadPoolExecutor(options.processes) as pool:  # Each thread waits for one process after the other.
        for number, verdict in enumerate(pool.map(verdict_on, drawn), 1):
            verdicts.append(verdict)
            print(f"{number}/{len(drawn)} {report.line(verdict)}", flush=True)
    print(report.summary(verdicts, len(possible)))
    if options.json:
        options.json.write_text(report.as_json(verdicts))
    return 1 if report.survivors(verdicts) else 0
