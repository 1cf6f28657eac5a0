"""`python -m parity mutants [NAME ...]`: how many small bugs in the source would the cases catch?"""

import resource
from argparse import ArgumentParser, Namespace

from parity.mutants.catching import verdicts
from parity.mutants.equivalent import EQUIVALENT
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
    files = named(
        modules(""), options.names, "a file, such as optim/adam.py", lambda module: path_of(module).as_posix()
    )
    possible = [mutant for module in files for mutant in mutants_of(module, path_of(module).read_text())]
    drawn = spread(possible, options.number or len(possible))

    explained, unexplained = 0, []
    for number, (mutant, (found, seconds)) in enumerate(zip(drawn, verdicts(drawn), strict=True), 1):
        reason = EQUIVALENT.get((mutant.module, mutant.statement))
        if found:
            verdict = f"caught by {found}"
        elif reason:
            verdict = f"equivalent: {reason}"
            explained += 1
        else:
            verdict = f"SURVIVED in `{mutant.statement}`"
            unexplained.append(mutant)
        print(f"{number}/{len(drawn)} {mutant.name}: {verdict} ({seconds:.1f} s)", flush=True)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(
        f"{len(drawn) - explained - len(unexplained)} of {len(drawn)} mutants caught (of {len(possible)} possible), "
        f"{explained} equivalent, {len(unexplained)} unexplained, "
        f"in {sum(usage.ru_utime + usage.ru_stime for usage in used):.0f} s of CPU time"
    )
    return 1 if unexplained else 0
