"""Distances and verdicts, on numbers worked out by hand."""

import math

import numpy as np
import pytest

from parity.verdicts import errors, formula_verdict, precision_verdict, ulp_distance, within_range

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


def test_where_the_unit_is_zero_only_equality_will_do():
    np.testing.assert_array_equal(errors(np.array([0.0, 1e-300]), np.zeros(2), np.zeros(2)), [0.0, np.inf])


def test_other_shapes_are_an_error_not_a_broadcast():
    with pytest.raises(AssertionError, match=r"ours \(2, 1\), torch \(2, 3\)"):
        errors(np.ones((2, 1)), np.ones((2, 3)), UNIT)


def test_formula_verdict_names_the_first_step_and_its_worst_element():
    truth = np.zeros((3, 2))
    ours = np.array([[0.0, 1e-13], [3e-12, 5e-12], [1.0, 1.0]])
    worst, difference = formula_verdict({"p": ours}, {"p": truth}, {"p": np.ones(3)}, 1e-12)
    assert worst == 1.0
    assert (difference.name, difference.step, difference.index, difference.error) == ("p", 1, (1,), 5e-12)
    assert str(difference).startswith("p[1] at step 1: ours 5e-12, torch 0.0,")


def noisy(size, scale=1e-5, seed=0):
    """A truth of ones, and PyTorch's result with normal errors."""
    errors = np.random.default_rng(seed).normal(size=size) * scale
    return {"p": np.ones(size)}, {"p": 1 + errors}, {"p": np.ones(size)}, errors


@pytest.mark.parametrize(("multiple", "passes"), [(1.4, True), (1.6, False)])
def test_precision_verdict_allows_a_multiple_of_the_root_mean_square_of_torch(multiple, passes):
    truth, torch, units, errors = noisy(10_000)
    ours, theirs, difference = precision_verdict(
        {"p": 1 - multiple * errors[::-1]}, torch, truth, units, 1.5, "float32"
    )
    assert ours / theirs == pytest.approx(multiple)
    assert (difference is None) is passes
    if difference:
        assert difference.limit == pytest.approx(1.5 * theirs)


@pytest.mark.parametrize("seed", range(20))
def test_precision_verdict_is_not_moved_by_the_largest_error_of_a_draw(seed):
    truth, torch, units, _ = noisy(300)
    *_, difference = precision_verdict(noisy(300, seed=seed + 1)[1], torch, truth, units, 1.5, "float32")
    assert difference is None


def test_one_wrong_element_of_many_cannot_hide():
    truth, torch, units, errors = noisy(100_000)
    ours = 1 - errors[::-1]
    ours[70_000] = 1 + 2e-4
    *_, difference = precision_verdict({"p": ours}, torch, truth, units, 1.5, "float32")
    assert difference.step == 70_000


def test_precision_verdict_never_asks_for_more_than_the_rounded_truth():
    truth = {"p": np.array([1 / 3, 1.0])}
    rounded = {"p": truth["p"].astype(np.float32).astype(np.float64)}
    ours, theirs, difference = precision_verdict(rounded, truth, truth, {"p": UNIT}, 1.5, "float32")
    assert (theirs, difference) == (0.0, None)
    assert ours == pytest.approx(abs(float(np.float32(1 / 3)) - 1 / 3) / math.sqrt(2))


def test_an_overflow_of_torch_excuses_nothing_else():
    truth = {"p": np.array([[1.0, 1.0]])}
    torch = {"p": np.array([[np.inf, 1.001]])}
    ours, units = {"p": np.array([[1.0, 1.01]])}, {"p": UNIT[:1]}
    _, theirs, difference = precision_verdict(ours, torch, truth, units, 1.5, "float16")
    assert theirs == pytest.approx(1e-3 / math.sqrt(2))
    assert difference.index == (1,)


def test_what_is_beyond_the_range_of_a_precision_is_infinite_in_it():
    truth = {"p": np.array([1e5, -1e5, 1 / 3, np.nan])}
    np.testing.assert_array_equal(within_range(truth, "float16")["p"], [np.inf, -np.inf, 1 / 3, np.nan])
    np.testing.assert_array_equal(within_range(truth, "bfloat16")["p"], truth["p"])


def test_each_unit_has_its_own_precision_limit():
    """A row on which PyTorch does badly does not excuse another."""
    truth = {"p": np.ones((1, 2, 1))}
    torch = {"p": np.array([[[1.1], [1.0]]])}
    ours = {"p": np.array([[[1.1], [1.1]]])}
    *_, difference = precision_verdict(ours, torch, truth, {"p": np.ones((1, 2, 1))}, 1.5, "float32")
    assert difference.index == (1, 0)


def test_what_is_no_normal_number_counts_against_the_smallest():
    truth, lost = {"p": np.array([1e-9])}, {"p": np.array([0.0])}
    ours, theirs, difference = precision_verdict(lost, lost, truth, truth, 1.5, "float16")
    assert ours == theirs == pytest.approx(1e-9 / 2.0**-14)
    assert difference is None
