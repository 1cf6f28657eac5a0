"""Mutants are what they say, are drawn evenly, and the cases catch one."""

import ast
import subprocess
import sys
from collections import Counter
from functools import cache

from parity.mutants import mutants, reach
from parity.mutants.equivalent import EQUIVALENT

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
    return [m for name in reach.modules("") for m in mutants.mutants_of(name, reach.path_of(name).read_text())]


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


def test_a_mutant_is_caught():
    # In a process of its own, because it imports the package twice.
    command = [sys.executable, "-m", "parity.mutants", "optim/clipping.py", "--number", "1"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert "1 of 1 mutants caught" in run.stdout, run.stdout + run.stderr
    assert run.returncode == 0
