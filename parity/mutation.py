"""`python -m parity.mutation`: how many small bugs in the source would the cases catch?

Planted defects show that a case catches the bugs that its author thought of. Here the source of `jaxtrain/optim`,
`schedules` and `losses` is changed in one place at a time (see `parity.mutants`), and the cases of all components that
the changed file can influence run on the changed package, by their formula verdict. A mutant that fails a case, cannot
run or never ends is caught; one that survives needs a new case, or an explanation why it changes nothing.
"""

import argparse
import ast
import importlib
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator
from functools import cache
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType

import jax

import jaxtrain
from parity.equivalent_mutants import EQUIVALENT
from parity.mutants import Mutant, mutants_of, spread

ROOMS = ("optim", "schedules", "losses")
COMBINING = {
    "optim": {"optim.param_groups"},
    "schedules": {"schedules.sequential_lr", "schedules.chained_scheduler", "schedules.per_epoch"},
}
"""By room, what is handed others of the room, and so depends on files that it does not import."""
ROOT = Path(jaxtrain.__file__).parent
SECONDS = 400
"""A mutant that takes longer is in an endless loop: the longest of the others takes a quarter of it."""

_truths: dict[str, dict] = {}
"""What PyTorch gave for each case: no mutant changes that."""


class _Importer(MetaPathFinder, SourceLoader):
    """Imports one module from a changed tree."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return spec_from_loader(name, self) if name == self.mutant.module else None

    def get_filename(self, fullname: str) -> str:
        return str(_path(fullname))

    def get_data(self, path: object) -> bytes:
        return b""

    def get_code(self, fullname: str):
        return compile(self.mutant.tree, self.get_filename(fullname), "exec")


def components_of(module: str) -> set[str]:
    """The public names below `jaxtrain` that are defined in a module or in one that imports it, however indirectly, or
    that combine others.
    """
    found = set(COMBINING.get(module.split(".")[1], ()))
    for dependent in _dependents(module):
        _, room, *_ = dependent.split(".")
        public = vars(importlib.import_module(f"jaxtrain.{room}"))
        defined = {getattr(node, "name", "") for node in ast.parse(_path(dependent).read_text()).body}
        imported = {name for name, value in public.items() if getattr(value, "__module__", "") == dependent}
        found |= {f"{room}.{name}" for name in defined & public.keys() | imported}
    return found


def _dependents(module: str) -> set[str]:
    importers = _importers()
    found, new = {module}, {module}
    while new:
        new = {name for name, imported in importers.items() if imported & new} - found
        found |= new
    return found


@cache
def _importers() -> dict[str, frozenset[str]]:
    """The modules of the rooms, and what each one imports."""
    return {
        module: frozenset(
            node.module
            for node in ast.walk(ast.parse(_path(module).read_text()))
            if isinstance(node, ast.ImportFrom) and node.module
        )
        for module in modules("")
    }


def caught_by(mutant: Mutant) -> str | None:
    """What fails on the changed package first: the name of a case, or of an error; None if nothing does."""
    importer = _Importer(mutant)
    components = components_of(mutant.module)
    originals = _forgotten()
    sys.meta_path.insert(0, importer)
    try:
        for case in importlib.import_module("parity.cases").all_cases():
            if case.component in components:
                vars(case).update(_truths.setdefault(case.name, {}))
                failed = not case.measure(case.ours, formula_only=True).passed
                _truths[case.name]["truth"] = case.truth
                if failed:
                    return case.name
    except Exception as error:  # A mutant that cannot even run is noticed by every user of the component.
        return type(error).__name__
    finally:
        sys.meta_path.remove(importer)
        _forgotten()
        for name, module in originals.items():
            sys.modules[name] = module
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)
        jax.clear_caches()
    return None


def _forgotten() -> dict[str, ModuleType]:
    """Make the next import load this package and its cases anew; the modules as they were."""
    prefixes = ("jaxtrain", "parity.cases", "parity.kinds", "parity.check")
    names = [name for name in sys.modules if any(name == p or name.startswith(f"{p}.") for p in prefixes)]
    return {name: sys.modules.pop(name) for name in sorted(names)}


def verdicts(mutants: list[Mutant]) -> Iterator[tuple[str | None, float]]:
    """What each mutant is caught by, and the seconds that took.

    They run in one process apart, for a mutant may never end, and only a process can be ended from outside.
    """
    context = multiprocessing.get_context("spawn")
    pool = context.Pool(1)
    try:
        for mutant in mutants:
            start = time.perf_counter()
            try:
                found = pool.apply_async(caught_by, [mutant]).get(SECONDS)
            except multiprocessing.TimeoutError:
                found = f"taking more than {SECONDS} s"
                pool.terminate()
                pool = context.Pool(1)
            yield found, time.perf_counter() - start
    finally:
        pool.terminate()
        pool.join()


def modules(name: str) -> list[str]:
    """The dotted names of the rooms' files whose path contains `name`."""
    files = sorted(path for room in ROOMS for path in (ROOT / room).glob("*.py") if name in path.as_posix())
    return [".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in files if path.stem != "__init__"]


def _path(module: str) -> Path:
    return ROOT.parent / f"{module.replace('.', '/')}.py"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m parity.mutation", description=__doc__ and __doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", default="", help="only mutants of files whose path contains this")
    parser.add_argument("--number", type=int, default=100, help="how many mutants, from each file in turn; 0 for all")
    options = parser.parse_args(arguments)

    possible = [mutant for module in modules(options.name) for mutant in mutants_of(module, _path(module).read_text())]
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


if __name__ == "__main__":
    sys.exit(main())
