"""What tests and cases catch is told from what survives, and from what did not come to an end."""

import pytest

from parity.mutants import catching, command, reach
from parity.mutants.catching import Checks, Verdict, verdict_on
from parity.mutants.mutants import mutants_of

CLIPPING = reach.path_of("jaxtrain.optim.clipping")
UNUSED = "\n\ndef _unused(x):\n    return -x\n"


def in_clipping(appended="", source=None, kind="sign"):
    """The last mutant of a kind in `optim.clipping`, whose cases take little time."""
    source = CLIPPING.read_text() if source is None else source
    return [mutant for mutant in mutants_of("jaxtrain.optim.clipping", source + appended) if mutant.kind == kind][-1]


@pytest.fixture
def tests(tmp_path):
    """Two tests, of which one fails if clipping is changed."""
    file = tmp_path / "test_it.py"
    file.write_text(
        "from jaxtrain.optim import clipping\n\n\n"
        "def test_nothing():\n    assert 1 + 1 == 2\n\n\n"
        "def test_clipping():\n    assert not hasattr(clipping, '_unused') or clipping._unused(1) == -1\n"
    )
    return [f"{file}::test_nothing", f"{file}::test_clipping"]


def test_a_mutant_is_caught_by_a_case_and_a_change_of_nothing_is_not(tmp_path):
    clipping = Checks(cases=["optim.clip_grad_norm"])
    verdict = verdict_on(in_clipping(kind="operator"), clipping, tmp_path)
    assert verdict.caught_by.startswith("optim.clip_grad_norm[")
    assert not verdict.survived
    assert 0 < verdict.seconds < catching.SECONDS
    unused = in_clipping(UNUSED)
    assert (unused.before, unused.after) == ("-x", "x")
    assert verdict_on(unused, clipping, tmp_path).survived


@pytest.mark.long
@pytest.mark.parametrize("order", ["near", "others"])
def test_a_mutant_is_caught_by_a_test(order, tests, tmp_path):
    verdict = verdict_on(in_clipping(UNUSED), Checks(**{order: tests}), tmp_path)
    assert verdict.caught_by.endswith("test_it.py::test_clipping")
    assert verdict_on(in_clipping(UNUSED), Checks(**{order: tests[:1]}), tmp_path).survived


@pytest.mark.long
@pytest.mark.parametrize(
    ("near", "others", "found"), [(1, 0, "test_it.py::test_clipping"), (0, 1, "optim.clip_grad_norm[")]
)
def test_near_tests_run_before_cases_and_the_others_after_them(near, others, found, tests, tmp_path):
    checks = Checks(tests * near, ["optim.clip_grad_norm"], tests * others)
    both_fail = in_clipping(UNUSED.replace("-x", "x"), kind="operator")
    assert found in verdict_on(both_fail, checks, tmp_path).caught_by


@pytest.mark.parametrize(
    ("code", "wait", "caught_by", "unfinished"),
    [
        ("import os\nos._exit(3)", 99, "the end of its process", ""),
        ("while True:\n    pass", 99, None, "more than 1 s of CPU time"),
        ("import time\ntime.sleep(999)", 2, None, "no result after 2 s"),
        ("import os\nos.kill(os.getpid(), 9)", 99, None, "ended from outside, perhaps for want of memory"),
        ("raise RuntimeError", 99, "RuntimeError where the cases are made", ""),
    ],
)
def test_the_end_of_a_mutant_without_a_result(code, wait, caught_by, unfinished, monkeypatch, tmp_path):
    monkeypatch.setattr(catching, "SECONDS", 9 if "Runtime" in code else 1)
    monkeypatch.setattr(catching, "WAIT", wait)
    mutant = in_clipping(source=f"{code}\n\n\ndef f(x):\n    return -x\n")
    verdict = verdict_on(mutant, Checks(cases=["optim.clip_grad_norm"]), tmp_path)
    assert (verdict.caught_by, verdict.unfinished, verdict.survived) == (caught_by, unfinished, False)


class OneTest:
    """A record in which one test runs every line."""

    def tests_of(self, file, lines):
        return [], ["tests/a.py::test_of_record"]


@pytest.mark.parametrize(
    ("caught_by", "runs"),
    [
        (["tests/a.py::test_b", "c.d[e]", "tests/a.py::test_b", None], [(("tests/a.py::test_b",), ("c.d[e]",), ())]),
        ([None], []),
        ([catching.ENDED], [((), ("optim.clip_grad_norm",), ("tests/a.py::test_of_record",))]),
    ],
)
def test_whatever_catches_runs_once_more_without_a_change(caught_by, runs, monkeypatch, tmp_path):
    ran = []

    def passes(mutant, checks, programs):
        ran.append((tuple(checks.near), tuple(checks.cases), tuple(checks.others)))
        assert mutant.place is None
        return Verdict(mutant, None, 1.0)

    monkeypatch.setattr(command, "components_of", lambda module: ["optim.clip_grad_norm"])
    monkeypatch.setattr(command, "verdict_on", passes)
    command.check_unchanged([Verdict(in_clipping(), name, 1.0) for name in caught_by], OneTest(), tmp_path)
    assert ran == runs


@pytest.mark.parametrize("result", [{"caught_by": "a test"}, {"caught_by": None, "unfinished": "a test"}])
def test_what_fails_without_a_change_is_an_error(result, monkeypatch, tmp_path):
    """Otherwise whatever fails every time would count as having caught each mutant."""
    monkeypatch.setattr(command, "verdict_on", lambda mutant, *_: Verdict(mutant, seconds=1.0, **result))
    with pytest.raises(RuntimeError, match="expected the files as they stand to pass, got a test"):
        command.check_unchanged([Verdict(in_clipping(), "a.py::test", 1.0)], OneTest(), tmp_path)
