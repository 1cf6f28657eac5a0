"""Mutants are what they say and are drawn evenly; what cases and tests catch is told from what survives."""

import ast
import json
import subprocess
from collections import Counter
from functools import cache

import pytest

from parity.__main__ import main
from parity.mutants import catching, command, mutants, reach
from parity.mutants.changes import KINDS
from parity.mutants.equivalent import EQUIVALENT

CLIPPING = reach.path_of("jaxtrain.optim.clipping")
SOURCE = '''
def f(x, step, scale=2.0):
    """A 1 in a docstring is left alone."""
    check_range("f", "x", x, 0.0)
    if scale < 0:
        raise ValueError(f"{scale + 1}")
    return -x / (1 - scale**step)
'''


def changes(source):
    return [(mutant.kind, mutant.before, mutant.after) for mutant in mutants.mutants_of("m", source)]


@cache
def everything():
    return [m for name in reach.modules() for m in mutants.mutants_of(name, reach.path_of(name).read_text())]


def test_every_expression_that_computes_is_changed_once():
    assert changes(SOURCE) == [
        ("argument", "f(...)", "f with scale = 2.0"),
        ("check", 'check_range("f", "x", x, 0.0)'.replace('"', "'"), "without `check_range('f', 'x', x, 0.0)`"),
        ("check", "0.0", "1.0"),
        ("check", "scale < 0", "scale <= 0"),
        ("check", "0", "1"),
        ("operator", "-x / (1 - scale ** step)", "-x * (1 - scale ** step)"),
        ("sign", "-x", "x"),
        ("operator", "1 - scale ** step", "1 + scale ** step"),
        ("constant", "1", "2"),
        ("count", "step", "step + 1"),
    ]


@pytest.mark.parametrize(
    ("body", "kind", "found"),
    [
        ("return at_least_float32(x.dtype)", "dtype", ["x.dtype"]),
        ("return x.astype(y)", "dtype", ["x"]),
        ("return as_float64(x)", "dtype", ["as_float64(as_float64(x).astype('float32'))"]),
        ("return dot(x, y, preferred_element_type=f)", "dtype", ["dot(x, y)"]),
        ("return sum(x, axis=-1) + sum(x, axis=0)", "axis", ["sum(x, axis=0)", "sum(x, axis=-1)"]),
        ("return along(x, axis, self.axis)", "axis", ["-1", "-1"]),
        ("return x and y", "condition", ["x or y"]),
        ("return x if not y else z", "condition", ["y"]),
        ("return x if y else z", "condition", ["z if y else x"]),
        ("if y:\n        x += 1", "condition", ["if not y:"]),
        ("self.x[...] = y", "state", ["without `self.x[...] = y`"]),
        ("x += y", "state", ["without `x += y`"]),
        ("reset(x)", "state", ["without `reset(x)`"]),
        ("return x is None", "comparison", ["x is not None"]),
        ("return x in y", "comparison", ["x not in y"]),
        ("if x or y:\n        raise E", "check", ["y", "x"]),
        ("check_range(x, open_low=True)", "check", ["without `check_range(x, open_low=True)`", "check_range(x)"]),
        ("where = x or y", "condition", []),
        ("_log.info(x)", "state", []),
    ],
)
def test_changes_of_meaning(body, kind, found):
    made = changes(f"def f(self, x, y, z, axis):\n    {body}")
    assert [after for made_kind, _, after in made if made_kind == kind] == found


def test_an_argument_is_ignored_after_the_docstring():
    source = '''def f(x, /, a=1, *, b, c=None):\n    """Say it."""\n    return x'''
    found = list(mutants.mutants_of("m", source))
    assert [ast.unparse(mutant.tree).splitlines()[2:] for mutant in found] == [
        ["    a = 1", "    return x"],
        ["    c = None", "    return x"],
    ]


def test_a_constructor_that_forgets_an_attribute_is_too_easy():
    source = "class A:\n    def __init__(self):\n        self.x = 1\n    def f(self):\n        self.x = y"
    assert [change for change in changes(source) if change[0] == "state"] == [
        ("state", "self.x = y", "without `self.x = y`")
    ]


def test_epsilon_moves_into_the_root_and_out_of_it():
    moved = [
        ("sqrt(v) + eps", "sqrt(v + eps)"),
        ("sqrt(v + eps)", "sqrt(v) + eps"),
        ("sqrt(v) / c + eps", "(sqrt(v) + eps) / c"),
    ]
    for before, after in moved:
        found = changes(f"def f(v, c, eps):\n    return {before}")
        assert [change for change in found if change[0] == "epsilon"] == [("epsilon", before, after)]


def test_a_mutant_changes_nothing_else():
    mutant = next(mutant for mutant in mutants.mutants_of("m", SOURCE) if mutant.kind == "sign")
    assert ast.unparse(mutant.tree) == ast.unparse(ast.parse(SOURCE)).replace("-x / ", "x / ")
    assert mutant.statement == "return x / (1 - scale ** step)"


def test_the_sample_is_even_over_files_and_leaves_no_kind_out():
    drawn = mutants.sample(everything(), 20, 0)
    rooms, files = Counter(mutant.room for mutant in drawn), Counter(mutant.module for mutant in drawn)
    assert rooms == dict.fromkeys(reach.ROOMS, 20)
    assert max(files.values()) <= 8
    assert {mutant.kind for mutant in mutants.sample(everything(), 50, 0)} == set(KINDS)
    assert mutants.sample(everything(), 20, 0) == drawn != mutants.sample(everything(), 20, 1)


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_every_mutant_differs_from_the_source_and_compiles():
    for mutant in mutants.sample(everything(), 30, 0):
        assert ast.unparse(mutant.tree) != ast.unparse(ast.parse(mutant.source))
        compile(mutant.tree, mutant.module, "exec")


def test_what_is_explained_as_equivalent_exists():
    assert EQUIVALENT.keys() <= {(mutant.module, mutant.statement) for mutant in everything()}


def test_components_of_a_file_and_of_a_private_helper():
    assert reach.components_of("jaxtrain.optim.adam") == {
        "optim.AdamState",
        "optim.adam",
        "optim.adamw",
        "optim.param_groups",
    }
    by_everyone = reach.components_of("jaxtrain.optim._per_parameter")
    assert {"optim.sgd", "optim.rmsprop"} <= by_everyone
    assert "optim.clip_grad_norm" not in by_everyone
    assert reach.components_of("jaxtrain.optim._strong_wolfe") == {
        "optim.LBFGSState",
        "optim.lbfgs",
        "optim.param_groups",
    }


def in_clipping(appended="", source=None, kind="sign"):
    """The last mutant of a kind in `optim.clipping`, whose cases take little time."""
    source = CLIPPING.read_text() if source is None else source
    made = mutants.mutants_of("jaxtrain.optim.clipping", source + appended)
    return [mutant for mutant in made if mutant.kind == kind][-1]


UNUSED = "\n\ndef _unused(x):\n    return -x\n"


def test_a_mutant_is_caught_by_a_case_and_a_change_of_nothing_is_not():
    verdict = catching.verdict_on(in_clipping(kind="operator"))
    assert verdict.caught_by.startswith("optim.clip_grad_norm[")
    assert 0 < verdict.seconds < catching.SECONDS
    unused = in_clipping(UNUSED)
    assert (unused.before, unused.after) == ("-x", "x")
    assert catching.verdict_on(unused).caught_by is None


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


@pytest.mark.long
def test_a_mutant_is_caught_by_a_test(tests, monkeypatch):
    monkeypatch.setattr(catching, "components_of", lambda module: set())
    assert catching.verdict_on(in_clipping(UNUSED), tests).caught_by.endswith("test_it.py::test_clipping")
    assert catching.verdict_on(in_clipping(UNUSED), tests[:1]).caught_by is None
    monkeypatch.setattr(catching, "TESTS", 1)
    assert catching.verdict_on(in_clipping(UNUSED), tests).caught_by is None


@pytest.mark.long
def test_a_file_as_it_stands_must_pass(tests, tmp_path):
    """Otherwise whatever fails every time would count as having caught each mutant."""
    catching.check_unchanged("jaxtrain.optim.clipping", tests)
    (tmp_path / "test_it.py").write_text("def test_nothing():\n    assert False\n")
    with pytest.raises(RuntimeError, match=r"expected jaxtrain.optim.clipping as it stands to pass .*::test_nothing"):
        catching.check_unchanged("jaxtrain.optim.clipping", tests[:1])


@pytest.mark.long
def test_a_record_knows_the_tests_of_a_line(monkeypatch, tmp_path):
    folder = tmp_path / "tests" / "optim"
    folder.mkdir(parents=True)
    test = "from jaxtrain.optim import clip_grad_value\n\n\ndef test_value():\n    clip_grad_value(1.0)\n"
    (folder / "test_one.py").write_text(test)
    monkeypatch.setattr(reach, "TESTS", tmp_path / "tests")
    monkeypatch.setattr(reach, "SHARED", ())
    run = reach.record({"optim"}, tmp_path)
    source = CLIPPING.read_text().splitlines()
    line = 1 + next(n for n, text in enumerate(source) if 'check_number("clip_grad_value"' in text)
    [found] = run.tests_of("jaxtrain.optim.clipping", (line, line))
    assert found.endswith("test_one.py::test_value")
    assert run.tests_of("jaxtrain.optim.clipping", (1, 1)) == []
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("recorded twice"))
    assert reach.record({"optim"}, tmp_path).tests_of("jaxtrain.optim.clipping", (line, line)) == [found]


def test_tests_that_fail_without_any_change_are_an_error(monkeypatch, tmp_path):
    done = subprocess.CompletedProcess([], 1, stdout="1 failed", stderr="")
    monkeypatch.setattr(reach.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(RuntimeError, match="mutants: expected the tests to pass, got\n1 failed"):
        reach.record({"optim"}, tmp_path)


@pytest.mark.parametrize(
    ("code", "seconds", "found"),
    [
        ("import os\nos._exit(3)", 400, "the end of its process"),
        ("import time\nwhile True:\n    time.sleep(1)", 2, "taking more than 2 s"),
        ("raise RuntimeError", 400, "RuntimeError"),
    ],
)
def test_a_mutant_that_ends_never_or_too_early_is_caught(code, seconds, found, monkeypatch):
    monkeypatch.setattr(catching, "SECONDS", seconds)
    mutant = in_clipping(source=f"{code}\n\n\ndef f(x):\n    return -x\n")
    assert catching.verdict_on(mutant).caught_by == found


def equivalent():
    """A mutant with an explanation."""
    return next(mutant for mutant in everything() if (mutant.module, mutant.statement) in EQUIVALENT)


class NoRecord:
    def tests_of(self, module, lines):
        return ["a test"]


@pytest.mark.parametrize(
    ("mutant", "caught_by", "line", "status"),
    [
        (in_clipping, "a case", "caught by a case (1.0 s)", 0),
        (in_clipping, None, "SURVIVED in `", 1),
        (equivalent, None, "equivalent: ", 0),
    ],
)
def test_the_command_fails_if_a_mutant_survives_unexplained(
    mutant, caught_by, line, status, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(command, "record", lambda *_: NoRecord())
    monkeypatch.setattr(command, "sample", lambda *_: [mutant()])
    monkeypatch.setattr(command, "check_unchanged", lambda module, tests: None)
    monkeypatch.setattr(command, "verdict_on", lambda mutant, tests: catching.Verdict(mutant, caught_by, 1.0))
    files = ["--json", str(tmp_path / "found.json"), "--markdown", str(tmp_path / "found.md")]
    assert main(["mutants", *files]) == status
    printed = capsys.readouterr().out
    assert line in printed
    caught, explained = int(caught_by is not None), int(mutant is equivalent)
    figures = f"{caught} of 1 mutants caught, {explained} equivalent, {status} unexplained"
    assert f": {figures}\n{figures} (of {len(everything())} possible), in 1 s of CPU time" in printed
    [entry] = json.loads((tmp_path / "found.json").read_text())
    assert (entry["caught_by"], entry["module"]) == (caught_by, mutant().module)
    table = (tmp_path / "found.md").read_text()
    share = {"a case": "100.0%", None: "-" if explained else "0.0%"}[caught_by]
    assert f"| 1 | {caught} | {explained} | {status} | {share} |" in table
    assert (f"- survived: `{mutant().name}`" in table) == bool(status)


def test_the_command_changes_only_the_named_files_and_knows_their_tests(monkeypatch, capsys):
    asked, checked = [], []
    monkeypatch.setattr(command, "check_unchanged", lambda module, tests: checked.append((module, tests)))
    monkeypatch.setattr(command, "record", lambda rooms, *_: asked.append(rooms) or NoRecord())
    monkeypatch.setattr(command, "verdict_on", lambda mutant, tests: catching.Verdict(mutant, tests[0], 1.0))
    assert main(["mutants", "optim/clipping.py", "losses/margin.py", "--sample", "2", "--processes", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()[:4]
    modules = [line.split()[1].split(":")[0] for line in lines]
    assert modules == ["jaxtrain.losses.margin"] * 2 + ["jaxtrain.optim.clipping"] * 2
    assert asked == [{"losses", "optim"}]
    assert checked == [("jaxtrain.losses.margin", ["a test"]), ("jaxtrain.optim.clipping", ["a test"])]
    assert all("caught by a test" in line for line in lines)


def test_without_a_checkout_the_command_says_what_it_needs(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(command, "TESTS", tmp_path / "tests")
    with pytest.raises(SystemExit):
        main(["mutants"])
    assert "expected a checkout with its tests and pytest-cov" in capsys.readouterr().err
