"""The record knows the tests of a line, the nearest and quickest first, and does not outlive what it was made from."""

import subprocess
from types import SimpleNamespace

import pytest

from parity.mutants import reach, record

CLIPPING = reach.path_of("jaxtrain.optim.clipping")


def a_record(seconds):
    """A record of tests that all run line 7 of `optim/clipping.py`."""
    made = record.Record([])
    contexts = {7: [f"{test}|run" for test in seconds] + [""], 8: ["tests/optim/test_clipping.py::test_other|run"]}
    made.folders = [SimpleNamespace(contexts_by_lineno=lambda file: contexts if file == str(CLIPPING) else {})]
    made.seconds = seconds
    return made


def test_the_nearest_and_quickest_tests_come_first_and_one_of_each_file_and_function():
    seconds = {
        "tests/train/test_fit.py::test_all": 0.1,
        "tests/optim/test_edges.py::test_slow": 9.0,
        "tests/optim/test_edges.py::test_quick[a]": 0.2,
        "tests/optim/test_edges.py::test_quick[b]": 0.3,
        "tests/optim/test_mistakes.py::test_slow": 8.0,
        "tests/optim/test_clipping.py::test_slow": 2.0,
        "tests/optim/test_clipping.py::test_quick": 1.0,
        "tests/train/test_clipping.py::test_of_another_room": 0.2,
    }
    near, others = a_record(seconds).tests_of(CLIPPING, (6, 7))
    assert near == ["tests/optim/test_clipping.py::test_quick", "tests/optim/test_clipping.py::test_slow"]
    assert others == [
        "tests/optim/test_edges.py::test_quick[a]",
        "tests/optim/test_mistakes.py::test_slow",
        "tests/optim/test_edges.py::test_slow",
        "tests/optim/test_edges.py::test_quick[b]",
        "tests/train/test_fit.py::test_all",
        "tests/train/test_clipping.py::test_of_another_room",
    ]
    assert a_record(seconds).tests_of(CLIPPING, (8, 9)) == (["tests/optim/test_clipping.py::test_other"], [])


@pytest.mark.parametrize(("private", "public"), [("_lerp", "test_lerp"), ("lerp", "test_lerp")])
def test_a_private_file_has_its_test_file_too(private, public):
    made = a_record({})
    found = {1: [f"tests/optim/{public}.py::test_it|setup"]}
    made.folders = [SimpleNamespace(contexts_by_lineno=lambda file: found)]
    assert made.tests_of(reach.ROOT / "optim" / f"{private}.py", (1, 1)) == ([f"tests/optim/{public}.py::test_it"], [])


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder of tests with one test of clipping."""
    monkeypatch.setattr(record, "TESTS", tmp_path / "tests")
    monkeypatch.setattr(record, "SHARED", ())
    folder = tmp_path / "tests" / "optim"
    folder.mkdir(parents=True)
    test = "from jaxtrain.optim import clip_grad_value\n\n\n"
    test += "class TestIt:\n    def test_value(self):\n        clip_grad_value(1.0)\n"
    (folder / "test_clipping.py").write_text(test)
    return folder


@pytest.mark.long
def test_a_record_knows_the_tests_of_a_line(folder, monkeypatch, tmp_path):
    run = record.record({"optim"}, tmp_path)
    source = CLIPPING.read_text().splitlines()
    line = 1 + next(n for n, text in enumerate(source) if 'check_number("clip_grad_value"' in text)
    near, others = run.tests_of(CLIPPING, (line, line))
    [found] = near + others
    assert found == "tests/optim/test_clipping.py::TestIt::test_value"
    assert [found] == [*run.seconds]
    assert run.tests_of(CLIPPING, (1, 1)) == ([], [])
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("recorded twice"))
    assert record.record({"optim"}, tmp_path).tests_of(CLIPPING, (line, line)) == (near, others)
    (folder / "test_clipping.py").write_text("")
    with pytest.raises(pytest.fail.Exception, match="recorded twice"):
        record.record({"optim"}, tmp_path)


def test_another_package_or_other_tests_are_recorded_again(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(record, "ROOT", tmp_path / "package")
    record.ROOT.mkdir()
    source, test = record.ROOT / "adam.py", folder / "test_clipping.py"
    digests = []
    for changed, text in [(source, "1"), (source, "2"), (source, "1"), (test, "2"), (folder / "conftest.py", "")]:
        changed.write_text(text)
        digests.append(record._digest("optim"))
    assert digests[0] == digests[2]
    assert len(set(digests)) == 4


def test_tests_that_fail_without_any_change_are_an_error(folder, monkeypatch, tmp_path):
    done = subprocess.CompletedProcess([], 1, stdout="1 failed", stderr="")
    monkeypatch.setattr(record.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(RuntimeError, match="mutants: expected the tests to pass, got\n1 failed"):
        record.record({"optim"}, tmp_path)


def test_components_of_a_file_and_of_a_private_helper():
    assert reach.components_of("jaxtrain.optim.adam") == [
        "optim.AdamState",
        "optim.adam",
        "optim.adamw",
        "optim.param_groups",
    ]
    by_everyone = reach.components_of("jaxtrain.optim._per_parameter")
    assert {"optim.sgd", "optim.rmsprop"} <= {*by_everyone}
    assert "optim.clip_grad_norm" not in by_everyone
    of_search = reach.components_of("jaxtrain.optim._strong_wolfe")
    assert of_search[:2] == ["optim.LBFGSState", "optim.lbfgs"]
    assert "interop.load_optimizer" in of_search
    assert "interop.load_scheduler" in reach.components_of("jaxtrain.interop.schedulers")
