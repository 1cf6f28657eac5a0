"""Run the cases on a changed package: every mutant in its own process."""

import sys
import time
from collections.abc import Set
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import CodeType, ModuleType

from parity.mutants.equivalent import EQUIVALENT
from parity.mutants.mutants import Mutant
from parity.mutants.reach import components_of, path_of

SECONDS = 400
"""A mutant that takes longer is in an endless loop: the longest of the others takes a quarter of it."""

# Each process is a copy of one that has imported everything that no mutant changes.
PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["jax", "flax.nnx", "optax", "torch", __name__])


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        mutant: the mutant.
        caught_by: what fails first: the name of a case, or an error; None if nothing does.
        seconds: CPU time that it took.
    """

    mutant: Mutant
    caught_by: str | None
    seconds: float

    @property
    def explanation(self) -> str | None:
        """Why a mutant that is not caught changes nothing; None if nobody knows."""
        return None if self.caught_by else EQUIVALENT.get((self.mutant.module, self.mutant.statement))


def verdict_on(mutant: Mutant) -> Verdict:
    """Whether the cases catch a mutant. A mutant that never ends, or ends its process, is caught, too."""
    receiving, sending = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_run, args=(sending, mutant, components_of(mutant.module)), daemon=True)
    process.start()
    sending.close()
    try:
        if not receiving.poll(SECONDS):
            return Verdict(mutant, f"taking more than {SECONDS} s", SECONDS)
        return Verdict(mutant, *receiving.recv())
    except EOFError:
        return Verdict(mutant, "the end of its process", 0.0)
    finally:
        process.kill()
        process.join()


def _run(connection: Connection, mutant: Mutant, components: Set[str]) -> None:
    """Send what catches the mutant, and the CPU time."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("jaxtrain", "parity")]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Changed(mutant))
    connection.send((_first_failure(components), time.process_time()))


def _first_failure(components: Set[str]) -> str | None:
    try:
        for case in import_module("parity.cases").all_cases():
            if case.component in components and not case.measure(case.ours, formula_only=True).passed:
                return case.name
    except Exception as error:  # A mutant that cannot even run is noticed by every user of the component.
        return type(error).__name__
    return None


class _Changed(MetaPathFinder, SourceFileLoader):
    """Imports one module from a changed tree."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(mutant.module, str(path_of(mutant.module)))
        self.mutant = mutant

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname == self.mutant.module else None

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.mutant.tree, self.path, "exec")
