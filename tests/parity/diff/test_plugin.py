"""The pytest plugin, used in a project of its own."""

import pytest

from parity import pytest_plugin
from parity.diff.report import Report

pytest_plugins = ["pytester"]

TEST = """
import pytest
from parity.diff.arrays import Compared
from parity.diff.report import Report

def test_golden(golden):
    golden("goldens/a.npz", None, lambda path: path.write_text("recorded"))
"""


@pytest.fixture
def project(pytester, monkeypatch):
    monkeypatch.setattr(pytest_plugin, "check", lambda path, model: Report(notes=[path.read_text()]))
    pytester.makeconftest('pytest_plugins = ["parity.pytest_plugin"]')
    pytester.makepyfile(TEST)
    return pytester


def test_a_golden_is_recorded_then_read(project):
    result = project.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*goldens/a.npz, found none; record it: pytest --record-goldens"])
    project.runpytest_inprocess("-p", "no:cacheprovider", "--record-goldens").assert_outcomes(passed=1)
    project.runpytest_inprocess("-p", "no:cacheprovider", "--parity-reports", "out").assert_outcomes(passed=1)
    assert "recorded" in (project.path / "out/test-golden.json").read_text()
    assert (project.path / "out/test-golden.html").stat().st_size > 0


def test_a_difference_fails_the_test_with_the_report(project, monkeypatch):
    from parity.diff.arrays import Compared

    wrong = Report(running=[Compared("output", "encoder", 0, 1.0, 1e-12, 0.0, 9.0, (0,), 1.0, 2.0)])
    monkeypatch.setattr(pytest_plugin, "check", lambda path, model: wrong)
    result = project.runpytest_inprocess("-p", "no:cacheprovider", "--record-goldens")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*First difference, as it runs: output of encoder*"])


def test_a_record_that_writes_another_file_is_refused(project):
    project.makepyfile(TEST.replace("path.write_text", "path.with_suffix('.txt').write_text"))
    result = project.runpytest_inprocess("-p", "no:cacheprovider", "--record-goldens")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*expected `record` to write *goldens/a.npz, found no file; call diff.record*"])
