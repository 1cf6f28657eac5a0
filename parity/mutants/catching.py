"""Run the cases on a changed package."""

import importlib
import multiprocessing
import sys
import time
from collections.abc import Iterator
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

import jax

from parity.mutants.mutants import Mutant
from parity.mutants.reach import components_of, path_of

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
        return str(path_of(fullname))

    def get_data(self, path: object) -> bytes:
        return b""

    def get_code(self, fullname: str):
        return compile(self.mutant.tree, self.get_filename(fullname), "exec")


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
    prefixes = ("jaxtrain", "parity.cases", "parity.subjects", "parity.check")
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
