"""Run cases and tests on a changed package: every mutant in its own process."""

import contextlib
import io
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence, Set
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import CodeType, ModuleType
from typing import Any

from parity.mutants.equivalent import EQUIVALENT
from parity.mutants.mutants import Mutant, unchanged
from parity.mutants.reach import ROOT, components_of, path_of

SECONDS = 400
"""A mutant that takes longer is in an endless loop: the longest of the others takes a quarter of it."""

ENDED = "the end of its process"
"""What catches a mutant that ends its process, if the file as it stands does not."""

TESTS = 60
"""How many of the tests that run the changed line are run: one file after the other, and what these do not notice,
others like them rarely do."""

# Each process is a copy of one that has imported everything that no mutant changes.
PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["jax", "flax.nnx", "optax", "torch", "pytest", __name__])

# Compiling is most of the time: XLA optimizes little, as in the tests, and programs that do not change are kept.
FLAGS = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)
_thread = threading.local()


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        mutant: the mutant.
        caught_by: what fails first: the name of a case or a test, or an error; None if nothing does.
        seconds: CPU time that it took.
    """

    mutant: Mutant
    caught_by: str | None
    seconds: float

    @property
    def explanation(self) -> str | None:
        """Why a mutant that is not caught changes nothing; None if nobody knows."""
        return None if self.caught_by else EQUIVALENT.get((self.mutant.module, self.mutant.statement))


def verdict_on(mutant: Mutant, tests: Sequence[str] = ()) -> Verdict:
    """Whether the cases or the given tests catch a mutant. One that never ends, or ends its process, is caught, too."""
    if not hasattr(_thread, "programs"):
        _thread.programs = tempfile.TemporaryDirectory()
    given = (mutant, components_of(mutant.module), tests[:TESTS], _thread.programs.name)
    receiving, sending = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_run, args=(sending, *given), daemon=True)
    process.start()
    sending.close()
    try:
        if not receiving.poll(SECONDS):
            return Verdict(mutant, f"taking more than {SECONDS} s", SECONDS)
        return Verdict(mutant, *receiving.recv())
    except EOFError:
        return Verdict(mutant, ENDED, 0.0)
    finally:
        process.kill()
        process.join()


def check_unchanged(module: str, tests: Sequence[str]) -> None:
    """Raise unless a file without any change passes: what catches everything says nothing."""
    found = verdict_on(unchanged(module, path_of(module).read_text()), tests).caught_by
    if found:
        raise RuntimeError(f"mutants: expected {module} as it stands to pass its cases and tests, got {found}")


def _run(sending: Connection, mutant: Mutant, components: Set[str], tests: Sequence[str], programs: str) -> None:
    """Send what catches the mutant, and the CPU time."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
    jax = import_module("jax")
    jax.config.update("jax_compilation_cache_dir", programs)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("jaxtrain", "parity")]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Changed(mutant))
    found = _failing_test(tests) or _failing_case(components, formula_only=mutant.kind != "dtype")
    sending.send((found, time.process_time()))


def _failing_case(components: Set[str], *, formula_only: bool) -> str | None:
    try:
        for case in import_module("parity.cases").all_cases():
            if case.component in components and not case.measure(case.ours, formula_only=formula_only).passed:
                return case.name
    except Exception as error:  # A mutant that cannot even run is noticed by every user of the component.
        return type(error).__name__
    return None


def _failing_test(tests: Sequence[str]) -> str | None:
    """The first of some tests that fails, or cannot be collected."""

    class Watch:
        failed: str | None = None

        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.failed:
                self.failed = self.failed or report.nodeid

        def pytest_collectreport(self, report: Any) -> None:
            if report.failed:
                self.failed = self.failed or report.nodeid

    if not tests:
        return None
    watch = Watch()
    os.chdir(ROOT.parent)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # Of what is imported before.
        status = import_module("pytest").main([*options, *tests], plugins=[watch])
    return watch.failed or (f"pytest's exit status {int(status)}" if status else None)


class _Changed(MetaPathFinder, SourceFileLoader):
    """Imports one module from a changed tree."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(mutant.module, str(path_of(mutant.module)))
        self.mutant = mutant

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname == self.mutant.module else None

    def get_code(self, fullname: str) -> CodeType:
        with warnings.catch_warnings(action="ignore"):  # Python's doubts about the change are not a test's.
            return compile(self.mutant.tree, self.path, "exec")
