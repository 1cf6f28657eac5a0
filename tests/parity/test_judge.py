"""Both verdicts at once, on several draws."""

import math

import numpy as np

from parity.judge import judge
from parity.precision import Draw
from parity.trace import Quantity

VALUE = Quantity("value")
TRUTH = 1 + np.random.default_rng(0).random((1, 1000))
ROUNDED = TRUTH.astype(np.float32).astype(np.float64)


def draw(ours64=None, ours=None, source=""):
    arrays = {"ours64": ours64, "ours": ours, "torch": None if ours is None else ROUNDED}
    traces = {name: None if array is None else {VALUE: array} for name, array in arrays.items()}
    return Draw(truth={VALUE: TRUTH}, units={VALUE: np.ones(1)}, source=source, **traces)


def test_both_verdicts_pass():
    found = judge([draw(TRUTH, ROUNDED), draw(TRUTH + 1e-13, ROUNDED)])
    assert found.passed
    assert found.formula == np.abs((TRUTH + 1e-13) - TRUTH).max()
    assert found.ours == found.torch == np.sqrt(np.mean((ROUNDED - TRUTH) ** 2))


def test_a_formula_that_is_off_in_one_draw_fails():
    found = judge([draw(TRUTH, ROUNDED), draw(TRUTH + 2e-12, ROUNDED, source="the second")])
    assert not found.passed
    assert str(found.difference).startswith("the second: value[")
    assert found.difference.dtype == "float64"
    assert judge([draw(TRUTH + 2e-12)], formula_limit=3e-12).passed


def test_a_precision_that_is_lost_in_one_draw_fails():
    wrong = ROUNDED.copy()
    wrong[0, 3] += 2.0**-21
    found = judge([draw(TRUTH, ROUNDED), draw(ours=wrong, source="the second")])
    assert (found.difference.source, found.difference.index, found.difference.dtype) == ("the second", (3,), "float32")
    assert judge([draw(TRUTH, ROUNDED), draw(ours=wrong)], factor=8.0).passed
    assert judge([draw(TRUTH, ROUNDED), draw(ours=wrong)], dtype="bfloat16").passed


def test_a_verdict_without_runs_is_left_out():
    found = judge([draw(TRUTH)])
    assert found.passed
    assert (found.formula, math.isnan(found.ours)) == (0.0, True)
