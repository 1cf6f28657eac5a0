"""Mutants are what they say, are drawn evenly, and only those that are explained are called equivalent."""

import ast
from collections import Counter
from functools import cache

import pytest

from parity.mutants import reach
from parity.mutants.changes import KINDS
from parity.mutants.draw import sample
from parity.mutants.equivalent import EQUIVALENT
from parity.mutants.mutants import mutants_of

SOURCE = '''
def f(x, step, scale=2.0):
    """A 1 in a docstring is left alone."""
    check_range("f", "x", x, 0.0)
    if scale < 0:
        raise ValueError(f"{scale + 1}")
    return -x / (1 - scale**step)
'''


def changes(source):
    return [(mutant.kind, mutant.before, mutant.after) for mutant in mutants_of("m", source)]


@cache
def everything():
    return [m for name in reach.modules() for m in mutants_of(name, reach.path_of(name).read_text())]


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
        ("return x[1:] + x[:-y]", "range", [":", ":"]),
        ("return x[y::2]", "range", ["::2", "y:"]),
        ("return x[0]", "constant", ["1"]),
        ("self.x[0] = y", "constant", ["1"]),
        ("return range(y)", "range", ["range(y - 1)"]),
        ("return range(x, y)", "range", ["range(x, y - 1)"]),
        ("return range(x, y, 2)", "range", ["range(x, y - 1, 2)"]),
        ("return at_least_float32(*x)", "dtype", []),
        ("self.x: A[0] = y", "state", ["without `self.x: A[0] = y`"]),
        ("self.x: A[0] = y", "constant", []),
        ("z: A = y", "state", []),
        ("x += y", "operator", ["x -= y"]),
        ("where = x or y", "condition", []),
        ("_log.info(x)", "state", []),
    ],
)
def test_changes_of_meaning(body, kind, found):
    made = changes(f"def f(self, x, y, z, axis):\n    {body}")
    assert [after for made_kind, _, after in made if made_kind == kind] == found


def test_an_argument_is_ignored_after_the_docstring():
    source = '''def f(x, /, a=1, *, b, c=None):\n    """Say it."""\n    return x'''
    found = list(mutants_of("m", source))
    assert [ast.unparse(mutant.tree).splitlines()[2:] for mutant in found] == [
        ["    a = 1", "    return x"],
        ["    c = None", "    return x"],
    ]


def test_required_arguments_of_one_type_are_exchanged():
    source = "def f(x: A, y: A, n: int, z: A, a: A=1): return x\ndef g(x, y): return x"
    found = [mutant for mutant in mutants_of("m", source) if mutant.kind == "argument"]
    assert [mutant.after for mutant in found] == ["f with a = 1", "f with x, y = (y, x)"]
    assert ast.unparse(found[1].tree).splitlines()[1:3] == ["    x, y = (y, x)", "    return x"]


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
    mutant = next(mutant for mutant in mutants_of("m", SOURCE) if mutant.kind == "sign")
    assert ast.unparse(mutant.tree) == ast.unparse(ast.parse(SOURCE)).replace("-x / ", "x / ")
    assert mutant.key == ("m", "f", "return -x / (1 - scale ** step)", "return x / (1 - scale ** step)")


def test_the_key_tells_methods_and_the_changes_of_one_statement_apart():
    keys = [mutant.key for mutant in mutants_of("m", "class A:\n    def f(self):\n        return 1 + 1\n\n    g = 1")]
    assert [(key.function, key.after) for key in keys[:3]] == [
        ("A.f", "return 1 - 1"),
        ("A.f", "return 2 + 1"),
        ("A.f", "return 1 + 2"),
    ]


def test_the_sample_is_even_over_files_and_leaves_no_kind_out():
    drawn = sample(everything(), 20, 0)
    rooms, files = Counter(mutant.room for mutant in drawn), Counter(mutant.module for mutant in drawn)
    assert rooms == dict.fromkeys(reach.ROOMS, 20)
    assert max(files.values()) <= 8
    assert {mutant.kind for mutant in sample(everything(), 50, 0)} == set(KINDS)
    assert {"state", "check"} <= {
        mutant.kind for mutant in sample(everything(), 10, 0)
    }  # Small draws have the last ones.
    assert sample(everything(), 20, 0) == drawn
    others = {mutant.module for mutant in sample(everything(), 20, 1) if mutant.room == "nn"}
    assert others != {mutant.module for mutant in drawn if mutant.room == "nn"}  # Nor only the first by the alphabet.


def test_a_room_is_drawn_from_alike_whichever_others_are():
    of_optim = [mutant for mutant in everything() if mutant.room == "optim"]
    assert sample(of_optim, 9, 0) == [mutant for mutant in sample(everything(), 9, 0) if mutant.room == "optim"]


def test_a_sample_that_ends_early_has_as_many_of_each_room():
    first = sample(everything(), 20, 0)[: 2 * len(reach.ROOMS)]
    assert Counter(mutant.room for mutant in first) == dict.fromkeys(reach.ROOMS, 2)


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_every_mutant_differs_from_the_source_and_compiles():
    for mutant in sample(everything(), 10, 0):
        assert ast.unparse(mutant.tree) != ast.unparse(ast.parse(mutant.source))
        compile(mutant.tree, mutant.module, "exec")


def test_every_explanation_is_of_exactly_one_mutant():
    """An entry that explained two mutants would hide one that nobody has looked at."""
    found = Counter(mutant.key for mutant in everything())
    assert {key: found[key] for key in EQUIVALENT} == dict.fromkeys(EQUIVALENT, 1)
