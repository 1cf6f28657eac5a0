"""Which tests run which lines of the package, and how long each takes: recorded once for each folder of tests."""

import os
import subprocess
import sys
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

from parity.mutants.draw import in_turn
from parity.mutants.reach import ROOT

TESTS = ROOT.parent / "tests"
SHARED = ("contract", "property")
"""Folders of tests on all rooms."""


class Record:
    """The tests of some folders by the lines that they run.

    Args:
        files: what coverage recorded of each folder; pytest's report lies next to it.
    """

    def __init__(self, files: Collection[Path]) -> None:
        from coverage import CoverageData  # Only the developers' installation has it.

        self.folders = [CoverageData(file) for file in files]
        for data in self.folders:
            data.read()
        self.seconds = {test: time for file in files for test, time in _durations(file.with_suffix(".xml")).items()}

    def tests_of(self, file: Path, lines: tuple[int, int]) -> tuple[list[str], list[str]]:
        """The tests that run one of these lines of a file: those in the file's own test file, and the others.

        The quickest come first, but one of each file and of each test function in turn: what only one of them notices
        is found as well. The others of the same room precede the rest.
        """
        contexts: set[str] = set()
        for data in self.folders:
            by_line = data.contexts_by_lineno(str(file))
            contexts |= {context for line in range(lines[0], lines[1] + 1) for context in by_line.get(line, ())}
        room = file.relative_to(ROOT).parts[0]
        mine = f"test_{file.stem.lstrip('_')}.py"
        by_distance: tuple[list[str], ...] = ([], [], [])
        for test in sorted({context.rpartition("|")[0] for context in contexts} - {""}):
            _, folder, *rest = test.partition("::")[0].split("/")
            by_distance[(0 if rest[-1:] == [mine] else 1) if folder == room else 2].append(test)
        near, same_room, others = map(self._quickest_first, by_distance)
        return near, same_room + others

    def _quickest_first(self, tests: Collection[str]) -> list[str]:
        by_file: dict[str, dict[str, list[str]]] = {}
        for test in sorted(tests, key=lambda test: self.seconds.get(test, 0.0)):
            file, function = test.partition("::")[0], test.partition("[")[0]
            by_file.setdefault(file, {}).setdefault(function, []).append(test)
        return in_turn([in_turn([*by_function.values()]) for by_function in by_file.values()])


def record(rooms: Collection[str], keep: Path, processes: int = 1) -> Record:
    """Run the tests that files of these rooms may fail, once, and record which lines each of them runs.

    A record that `keep` already holds is used again if neither the package nor the tests have changed since.
    """
    return Record([_recorded(folder, keep, processes) for folder in (*sorted(rooms), *SHARED)])


def _recorded(folder: str, keep: Path, processes: int) -> Path:
    file = keep / f"{folder}-{_digest(folder)}.coverage"
    if not file.exists():
        for old in keep.glob(f"{folder}-*"):
            old.unlink()
        options = ["--cov=jaxtrain", "--cov-context=test", "--cov-report=", f"--numprocesses={processes}"]
        options += [f"--junitxml={file.with_suffix('.xml')}", "-o", "junit_family=xunit1", "-p", "no:cacheprovider"]
        # The examples of the docstrings belong to the documentation.
        options += [f"--ignore={TESTS / 'contract' / 'test_examples.py'}"]
        # A test's name begins with the path from here; for tests outside the project pytest would choose another.
        options += [f"--rootdir={TESTS.parent}"]
        command = [sys.executable, "-m", "pytest", str(TESTS / folder), *options]
        environment = os.environ | {"COVERAGE_FILE": str(file)}
        done = subprocess.run(command, cwd=ROOT.parent, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            file.unlink(missing_ok=True)
            raise RuntimeError(f"mutants: expected the tests to pass, got\n{done.stdout}{done.stderr}")
    return file


def _digest(folder: str) -> str:
    """What tells the package and the tests of a folder from those of another day."""
    digest = sha256()
    for file in sorted([*ROOT.rglob("*.py"), *(TESTS / folder).rglob("*.py"), *TESTS.glob("*.py")]):
        digest.update(f"{file}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _durations(report: Path) -> dict[str, float]:
    """The seconds of each test, read from pytest's report."""
    seconds = {}
    for test in ElementTree.parse(report).iter("testcase"):
        file, classes, name, time = (test.get(key, "") for key in ("file", "classname", "name", "time"))
        inside = classes.split(".")[file.count("/") + 1 :]
        seconds["::".join([file, *inside, name])] = float(time)
    return seconds
