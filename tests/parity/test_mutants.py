"""Mutants are what they say and are drawn evenly; what the cases catch is told from what survives."""

import ast
import json
from collections import Counter
from functools import cache

import pytest

from parity.__main__ import main
from parity.mutants import catching, command, mutants, reach
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
        ("operator", "-x / (1 - scale ** step)", "-x * (1 - scale ** step)"),
        ("sign", "-x", "x"),
        ("operator", "1 - scale ** step", "1 + scale ** step"),
        ("constant", "1", "2"),
        ("count", "step", "step + 1"),
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
    mutant = list(mutants.mutants_of("m", SOURCE))[1]
    assert ast.unparse(mutant.tree) == ast.unparse(ast.parse(SOURCE)).replace("-x / ", "x / ")
    assert mutant.statement == "return x / (1 - scale ** step)"


def test_the_draw_is_even_over_files_and_leaves_no_kind_out():
    drawn = mutants.spread(everything(), 100)
    files = Counter(mutant.module for mutant in drawn)
    assert len(drawn) == 100
    assert len(files) > 40
    assert max(files.values()) <= 3
    assert {mutant.kind for mutant in drawn} == set(mutants.KINDS)


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


def in_clipping(appended="", position=0, source=None):
    """A mutant of `optim.clipping`, whose cases take little time."""
    source = CLIPPING.read_text() if source is None else source
    return list(mutants.mutants_of("jaxtrain.optim.clipping", source + appended))[position]


def test_a_mutant_is_caught_and_a_change_of_nothing_is_not():
    verdict = catching.verdict_on(in_clipping())
    assert verdict.caught_by.startswith("optim.clip_grad_norm[")
    assert 0 < verdict.seconds < catching.SECONDS
    unused = in_clipping("\n\ndef _unused(x):\n    return -x\n", -1)
    assert (unused.before, unused.after) == ("-x", "x")
    assert catching.verdict_on(unused).caught_by is None


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
    monkeypatch.setattr(command, "spread", lambda possible, number: [mutant()])
    monkeypatch.setattr(command, "verdict_on", lambda mutant: catching.Verdict(mutant, caught_by, 1.0))
    assert main(["mutants", "--json", str(tmp_path / "found.json")]) == status
    printed = capsys.readouterr().out
    assert line in printed
    caught, explained = int(caught_by is not None), int(mutant is equivalent)
    figures = f"{caught} of 1 mutants caught, {explained} equivalent, {status} unexplained"
    assert f": {figures}\n{figures} (of {len(everything())} possible), in 1 s of CPU time" in printed
    [entry] = json.loads((tmp_path / "found.json").read_text())
    assert (entry["caught_by"], entry["module"]) == (caught_by, mutant().module)


def test_the_command_changes_only_the_named_files(monkeypatch, capsys):
    monkeypatch.setattr(command, "verdict_on", lambda mutant: catching.Verdict(mutant, "a case", 1.0))
    assert main(["mutants", "optim/clipping.py", "losses/margin.py", "--number", "4", "--processes", "2"]) == 0
    modules = [line.split()[1].split(":")[0] for line in capsys.readouterr().out.splitlines()[:4]]
    assert modules == ["jaxtrain.losses.margin"] * 2 + ["jaxtrain.optim.clipping"] * 2
