"""Which components and which tests a file of the package can influence."""

import ast
import importlib
import os
import subprocess
import sys
from collections.abc import Collection
from functools import cache
from pathlib import Path

import jaxtrain

ROOMS = ("losses", "optim", "schedules", "regularization", "nn", "train")
"""The rooms whose files are changed."""

COMBINING = {
    "optim": {"optim.param_groups"},
    "schedules": {"schedules.sequential_lr", "schedules.chained_scheduler", "schedules.per_epoch"},
}
"""By room, the components that take others as arguments, and so depend on files that they do not import."""
ROOT = Path(jaxtrain.__file__).parent
TESTS = ROOT.parent / "tests"
SHARED = ("contract", "property")
"""Folders of tests on all rooms."""


def modules() -> list[str]:
    """The dotted names of the rooms' files."""
    files = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return [".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in files if path.stem != "__init__"]


def path_of(module: str) -> Path:
    """The file of a module."""
    return ROOT.parent / f"{module.replace('.', '/')}.py"


def components_of(module: str) -> set[str]:
    """The components that a module can influence: defined in it or in a module that imports it, however indirectly, or
    combining others.
    """
    found = set(COMBINING.get(module.split(".")[1], ()))
    for dependent in _dependents(module):
        _, room, *_ = dependent.split(".")
        public = vars(importlib.import_module(f"jaxtrain.{room}"))
        defined = {getattr(node, "name", "") for node in ast.parse(path_of(dependent).read_text()).body}
        imported = {name for name, value in public.items() if getattr(value, "__module__", "") == dependent}
        found |= {f"{room}.{name}" for name in defined & public.keys() | imported}
    return found


class Record:
    """Which tests run which lines of the package."""

    def __init__(self, file: Path) -> None:
        from coverage import CoverageData  # Only the developers' installation has it.

        self.data = CoverageData(file)
        self.data.read()

    def tests_of(self, module: str, lines: tuple[int, int]) -> list[str]:
        """The tests that run one of these lines of a module: one of each file in turn."""
        first, last = lines
        by_line = self.data.contexts_by_lineno(str(path_of(module)))
        contexts = {context for line in range(first, last + 1) for context in by_line.get(line, ())}
        by_file: dict[str, list[str]] = {}
        for test in sorted({context.rpartition("|")[0] for context in contexts} - {""}):
            by_file.setdefault(test.partition("::")[0], []).append(test)
        rounds = range(max(map(len, by_file.values()), default=0))
        return [tests[number] for number in rounds for tests in by_file.values() if number < len(tests)]


def record(rooms: Collection[str], folder: Path, processes: int = 1) -> Record:
    """Run the tests that files of these rooms may fail, once, and record which lines each of them runs.

    A record that `folder` already holds is used again.
    """
    file = folder / f"{'-'.join(sorted(rooms))}.coverage"
    if not file.exists():
        folders = [str(TESTS / name) for name in (*sorted(rooms), *SHARED)]
        options = ["--cov=jaxtrain", "--cov-context=test", "--cov-report=", f"--numprocesses={processes}"]
        # The examples of the docstrings belong to the documentation.
        options += ["-p", "no:cacheprovider", f"--ignore={TESTS / 'contract' / 'test_examples.py'}"]
        command = [sys.executable, "-m", "pytest", *folders, *options]
        environment = os.environ | {"COVERAGE_FILE": str(file)}
        done = subprocess.run(command, cwd=ROOT.parent, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            file.unlink(missing_ok=True)
            raise RuntimeError(f"mutants: expected the tests to pass, got\n{done.stdout}{done.stderr}")
    return Record(file)


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
            for node in ast.walk(ast.parse(path_of(module).read_text()))
            if isinstance(node, ast.ImportFrom) and node.module
        )
        for module in modules()
    }
