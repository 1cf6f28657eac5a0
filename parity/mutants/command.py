"""`python -m parity mutants [NAME]`: how many small bugs in the source would the cases catch?"""

import argparse
import resource

from parity.mutants.catching import verdicts
from parity.mutants.equivalent import EQUIVALENT
from parity.mutants.mutants import mutants_of, spread
from parity.mutants.reach import modules, path_of


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m parity mutants", description=__doc__)
    parser.add_argument("name", nargs="?", default="", help="only mutants of files whose path contains this")
    parser.add_argument("--number", type=int, default=100, help="how many mutants, from each file in turn; 0 for all")
    options = parser.parse_args(arguments)

    possible = [
        mutant for module in modules(options.name) for mutant in mutants_of(module, path_of(module).read_text())
    ]
    if not possible:
        parser.error(f"nothing to change in files named {options.name!r}")
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
