"""Distances and verdicts, on numbers worked out by hand."""

import math

import numpy as np
import pytest

from parity.trace import Quantity
from parity.verdicts import FORMULA_LIMIT, errors, formula_verdict, spacing, ulp_distance

P, OUTPUT = Quantity("parameter", "p"), Quantity("output")
UNIT = np.ones(2)


def test_ulp_distance_counts_steps_of_the_grid():
    assert ulp_distance(1.0 + 3 * 2.0**-23, 1.0, "float32") == 3
    assert ulp_distance(1.0 + 2.0**-7, 1.0, "bfloat16") == 1
    assert ulp_distance(1024.0 + 2.0**-42, 1024.0, "float64") == 1


def test_ulp_distance_of_numbers_without_a_grid():
    assert ulp_distance(math.nan, math.nan, "float32") == 0
    assert ulp_distance(math.inf, 1.0, "float32") == math.inf
    assert ulp_distance(2.0**-149, 0.0, "float32") == 1


def test_errors_are_counted_in_units():
    found = errors(np.array([[1.5, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.0], [4.0, 4.0]]), np.array([1.0, 10.0]))
    np.testing.assert_array_equal(found, [[0.5, 0.0], [0.1, 0.0]])


def test_only_the_same_nonfinite_value_agrees_with_a_nonfinite_truth():
    truth = np.array([np.nan, np.inf, np.nan, 1.0, np.inf])
    ours = np.array([np.nan, np.inf, 0.0, np.nan, -np.inf])
    np.testing.assert_array_equal(errors(ours, truth, np.ones(5)), [0, 0, np.inf, np.inf, np.inf])


def test_where_the_unit_is_zero_only_equality_passes():
    np.testing.assert_array_equal(errors(np.array([0.0, 1e-300]), np.zeros(2), np.zeros(2)), [0.0, np.inf])


def test_other_shapes_are_an_error_not_a_broadcast():
    with pytest.raises(AssertionError, match=r"ours \(2, 1\), torch \(2, 3\)"):
        errors(np.ones((2, 1)), np.ones((2, 3)), UNIT)


def test_spacing_is_that_of_the_grid_around_a_value():
    values = np.array([0.0, 1.0, -1.5, 2.0**-130, 3e4])
    np.testing.assert_array_equal(spacing(values, "float16"), [2.0**-24, 2.0**-10, 2.0**-10, 2.0**-24, 16])
    np.testing.assert_array_equal(spacing(values[:3], "float32"), [2.0**-149, 2.0**-23, 2.0**-23])


def test_formula_verdict_names_the_first_step_and_its_worst_element():
    truth = np.zeros((3, 2))
    ours = np.array([[0.0, 1e-13], [3e-12, 5e-12], [1.0, 1.0]])
    worst, difference = formula_verdict({P: ours}, {P: truth}, {P: np.ones(3)}, FORMULA_LIMIT)
    assert worst == 1.0
    assert (difference.quantity, difference.step, difference.index, difference.error) == (P, 1, (1,), 5e-12)
    assert str(difference).startswith("parameter 'p'[1] at step 1: ours 5e-12, torch 0.0,")


def test_formula_verdict_fails_at_two_billionths_of_a_thousandth():
    truth = np.linspace(1.0, 2.0, 100)
    ours = truth.copy()
    ours[70] += 2e-12
    assert formula_verdict({P: ours}, {P: truth}, {P: np.ones(1)}, FORMULA_LIMIT)[1].step == 70
    ours[70] = truth[70] + 0.9e-12
    assert formula_verdict({P: ours}, {P: truth}, {P: np.ones(1)}, FORMULA_LIMIT)[1] is None


def test_the_roundings_of_one_quantity_excuse_no_other():
    truth = {P: np.ones((1, 2)), OUTPUT: np.ones((1, 2))}
    ours = {quantity: values + 1e-9 for quantity, values in truth.items()}
    units = dict.fromkeys(truth, np.ones(1))
    for excused, other in ((P, OUTPUT), (OUTPUT, P)):
        _, difference = formula_verdict(ours, truth, units, FORMULA_LIMIT, {excused: 1e-6})
        assert difference.quantity == other
    assert formula_verdict(ours, truth, units, FORMULA_LIMIT, dict.fromkeys(truth, 1e-6))[1] is None


def test_a_quantity_with_a_single_step_does_not_name_it():
    _, difference = formula_verdict({OUTPUT: np.ones((1, 2))}, {OUTPUT: np.zeros((1, 2))}, {OUTPUT: np.ones(1)}, 0.0)
    assert str(difference).startswith("output[0]: ours 1.0, torch 0.0,")
