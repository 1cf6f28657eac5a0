"""Mutants are what they say, and the cases catch one."""

import ast
import subprocess
import sys

from parity import mutation

SOURCE = '''
def f(x, step, scale=2.0):
    """A 1 in a docstring is left alone."""
    check_range("f", "x", x, 0.0)
    if scale < 0:
        raise ValueError(f"{scale + 1}")
    return -x / (1 - scale**step)
'''


def test_every_expression_that_computes_is_changed_once():
    changes = [(mutant.before, mutant.after) for mutant in mutation.mutants_of("m", SOURCE)]
    assert changes == [
        ("-x / (1 - scale ** step)", "-x * (1 - scale ** step)"),
        ("-x", "x"),
        ("1 - scale ** step", "1 + scale ** step"),
        ("1", "2"),
        ("step", "step + 1"),
    ]


def test_a_mutant_changes_nothing_else():
    mutant = list(mutation.mutants_of("m", SOURCE))[1]
    assert ast.unparse(mutant.tree) == ast.unparse(ast.parse(SOURCE)).replace("-x / ", "x / ")


def test_components_of_a_file_and_of_a_private_helper():
    assert mutation.components_of("jaxtrain.optim.adam") == {"optim.AdamState", "optim.adam", "optim.adamw"}
    assert {"optim.sgd", "optim.rmsprop"} <= mutation.components_of("jaxtrain.optim._per_parameter")


def test_a_mutant_is_caught():
    # In a process of its own, because it imports the package twice.
    command = [sys.executable, "-m", "parity.mutation", "optim/clipping.py", "--number", "1"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert "1 of 1 mutants caught" in run.stdout, run.stdout + run.stderr
    assert run.returncode == 0
