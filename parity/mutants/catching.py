"""Run tests and cases on a changed package: every mutant in its own process."""

import contextlib
import io
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from parity._compilation import QUICK
from parity.mutants.draw import in_turn
from parity.mutants.equivalent import EQUIVALENT
from parity.mutants.mutants import Mutant
from parity.mutants.reach import ROOT, path_of

SECONDS = 600
"""CPU time of a mutant; how busy the machine is does not matter."""

ENDED = "the end of its process"
"""What catches a mutant whose process ends without a result."""

WAIT = 10
"""How many times longer the wall clock may run: a mutant may wait forever without using the CPU."""

# Each process is a copy of one that has imported everything that no mutant changes.
PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["jax", "flax.nnx", "optax", "torch", "pytest", __name__])

# Programs are compiled as in the tests, for as many devices, and kept.
FLAGS = f"--xla_force_host_platform_device_count=8 {QUICK}"


@dataclass(frozen=True)
class Checks:
    """What runs on a mutant, one after the other until something fails.

    Attributes:
        near: tests that run first.
        cases: names of cases or of their components, which run next: one case of each in turn.
        others: tests that run last.
    """

    near: Sequence[str] = ()
    cases: Sequence[str] = ()
    others: Sequence[str] = ()


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        mutant: the mutant.
        caught_by: what fails first: the name of a test or a case, or how the process ended; None if nothing does.
        seconds: CPU time that it took.
        unfinished: why the checks did not come to their end, so that the result is unknown; empty if they did.
    """

    mutant: Mutant
    caught_by: str | None
    seconds: float
    unfinished: str = ""

    @property
    def explanation(self) -> str | None:
        """Why the mutant need not be caught: it changes nothing. None if it was caught, or nobody explained it."""
        return None if self.caught_by or self.unfinished else EQUIVALENT.get(self.mutant.key)

    @property
    def survived(self) -> bool:
        """Whether the mutant was neither caught nor explained."""
        return not (self.caught_by or self.unfinished or self.explanation)


def verdict_on(mutant: Mutant, checks: Checks, programs: Path) -> Verdict:
    """Whether checks catch a mutant.

    Args:
        mutant: the mutant.
        checks: what runs on it.
        programs: where compiled programs are kept, for all mutants together.
    """
    receiving, sending = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_run, args=(sending, mutant, checks, programs, SECONDS), daemon=True)
    process.start()
    sending.close()
    try:
        if not receiving.poll(WAIT * SECONDS):
            return Verdict(mutant, None, SECONDS, f"no result after {WAIT * SECONDS} s")
        return Verdict(mutant, *receiving.recv())
    except EOFError:
        process.join()
        return _verdict_by_end(mutant, process.exitcode)
    finally:
        process.kill()
        process.join()


def _verdict_by_end(mutant: Mutant, code: int | None) -> Verdict:
    """The verdict on a mutant whose process ended without a result."""
    if code == -signal.SIGXCPU:
        return Verdict(mutant, None, SECONDS, f"more than {SECONDS} s of CPU time")
    if code == -signal.SIGKILL:
        return Verdict(mutant, None, 0.0, "ended from outside, perhaps for want of memory")
    return Verdict(mutant, ENDED, 0.0)


def _run(sending: Connection, mutant: Mutant, checks: Checks, programs: Path, seconds: int) -> None:
    """Send what catches the mutant, and the CPU time."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
    jax = import_module("jax")
    jax.config.update("jax_compilation_cache_dir", str(programs))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("jaxtrain", "parity")]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Changed(mutant))
    found = (
        _failing_test(checks.near)
        or _failing_case(checks.cases, formula_only=mutant.kind != "dtype")
        or _failing_test(checks.others)
    )
    sending.send((found, time.process_time()))


def _failing_case(names: Sequence[str], *, formula_only: bool) -> str | None:
    """The first case that fails, or cannot even run: every user of the component would notice."""
    if not names:
        return None
    try:
        cases = import_module("parity.cases").all_cases()
    except Exception as error:
        return f"{type(error).__name__} where the cases are made"
    for case in in_turn([[case for case in cases if name in (case.component, case.name)] for name in names]):
        try:
            if not case.measure(case.ours, formula_only=formula_only).passed:
                return case.name
        except Exception:
            return case.name
    return None


def _failing_test(tests: Collection[str]) -> str | None:
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
        # Another process may be writing the program at this moment: it is compiled once more.
        options += ["-W", "ignore:Error reading persistent compilation cache:UserWarning"]
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
