"""The precision verdict: it holds for errors like PyTorch's, whatever the draw, and fails for any that are worse."""

import numpy as np
import pytest

from parity.precision import Draw, precision_verdict, within_range
from parity.trace import Quantity

P = Quantity("parameter", "p")
ONE = np.ones(1)
SIZE = 100_000


def judged(ours, torch, truth, unit=ONE, factor=1.5, dtype="float32", draws=1, moved=None):
    """The verdict on arrays of one quantity, or on several draws of them along the first axis."""
    if draws == 1:
        ours, torch, truth = (np.asarray(array)[None] for array in (ours, torch, truth))
    runs = [
        Draw(ours={P: mine}, torch={P: theirs}, truth={P: true}, units={P: unit}, moved=moved, source=f"draw {number}")
        for number, (mine, theirs, true) in enumerate(zip(ours, torch, truth, strict=True))
    ]
    return precision_verdict(runs, factor, dtype)


def noise(size, seed, count=SIZE):
    return size * np.random.default_rng(seed).normal(size=(1, count))


def test_errors_as_large_as_those_of_torch_pass_for_any_seed():
    truth = np.ones((1, SIZE))
    for seed in range(20):
        ours, theirs, difference = judged(truth + noise(1e-5, seed), truth + noise(1e-5, seed + 100), truth)
        assert difference is None
        assert ours == pytest.approx(theirs, rel=0.02)


def test_a_mean_square_1_6_times_that_of_torch_fails():
    truth = np.ones((1, SIZE))
    ours, theirs, difference = judged(truth + noise(1.6e-5, 0), truth + noise(1e-5, 1), truth)
    assert difference.measure == "root mean square error"
    assert difference.error == ours == pytest.approx(1.6e-5, rel=0.02)
    assert difference.limit == pytest.approx(1.5 * theirs)
    assert judged(truth + noise(1.4e-5, 0), truth + noise(1e-5, 1), truth)[-1] is None


def test_one_wrong_element_of_a_hundred_thousand_fails():
    """Its share in the mean square is nothing, yet no normal error is ten deviations."""
    truth, torch = np.ones((1, SIZE)), np.ones((1, SIZE)) + noise(1e-5, 1)
    ours = truth + noise(1e-5, 0)
    ours[0, 777] = 1 + 1.2e-4
    *_, difference = judged(ours, torch, truth)
    assert (difference.measure, difference.index, difference.step) == ("error", (777,), None)
    assert 4e-5 < difference.limit < 1.2e-4
    ours[0, 777] = 1 + 6e-5
    assert judged(ours, torch, truth)[-1] is None


def test_an_element_two_ulp_off_among_correctly_rounded_ones_fails():
    truth = 1 + np.random.default_rng(0).random((1, SIZE))
    rounded = truth.astype(np.float32).astype(np.float64)
    assert judged(rounded, rounded, truth)[-1] is None
    ours = rounded.copy()
    ours[0, 5] += 2 * 2.0**-23
    *_, difference = judged(ours, rounded, truth)
    assert (difference.measure, difference.index) == ("error", (5,))


def test_draws_are_judged_together():
    """Where PyTorch is lucky in one draw, the others tell how large its errors are."""
    truth = np.ones((4, 1, 1))
    torch = truth + 1e-5 * np.array([0.01, 1.0, -1.0, 1.0]).reshape(4, 1, 1)
    ours = truth + 1e-5
    assert judged(ours[0], torch[0], truth[0])[-1] is not None
    ours_mean, theirs, difference = judged(ours, torch, truth, draws=4)
    assert difference is None
    assert theirs / ours_mean == pytest.approx(0.75**0.5, rel=1e-3)


def test_the_draw_with_the_worst_element_is_named():
    truth = np.ones((3, 1, 2))
    ours = truth.copy()
    ours[2, 0, 1] = 1.5
    *_, difference = judged(ours, truth, truth, draws=3)
    assert str(difference).startswith("draw 2: parameter 'p'[1]: ours 1.5, torch 1.0,")


def test_draws_of_different_shapes_are_judged_together():
    truth = [np.ones((1, size)) for size in (1, 3)]
    torch = [array + 1e-5 for array in truth]
    ours = [truth[0] + 2e-5, truth[1]]
    error, theirs, difference = judged(ours, torch, truth, draws=2)
    assert (error, theirs) == (pytest.approx(1e-5), pytest.approx(1e-5))
    assert difference is None


def test_rounding_is_never_an_error():
    """Where PyTorch happens to be exact, no float32 result can be nearer than the rounded truth."""
    truth = np.array([1 / 3, 1.0])
    rounded = truth.astype(np.float32).astype(np.float64)
    ours, theirs, difference = judged(rounded, truth, truth)
    assert (theirs, difference) == (0.0, None)
    assert ours == pytest.approx(abs(float(np.float32(1 / 3)) - 1 / 3) / 2**0.5)


def test_where_torch_is_exact_an_error_of_one_ulp_is_one_too_many():
    truth = np.linspace(1, 1.9, 10)
    assert judged(truth + 2.0**-23, truth, truth)[-1].limit == pytest.approx(1.5 * 2.0**-23 / 12**0.5)


def test_an_overflow_of_torch_excuses_nothing_else():
    truth, torch = np.array([[1.0, 1.0]]), np.array([[np.inf, 1.001]])
    _, theirs, difference = judged(np.array([[1.0, 1.01]]), torch, truth, dtype="float16")
    assert theirs == pytest.approx(1e-3 / 2**0.5)
    assert difference.index == (1,)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_an_overflow_by_roundings_after_every_operation_excuses_nothing(value):
    truth, moved = np.ones((1, 2)), {P: np.array([[value, 1.001]])}
    assert judged(np.array([[1.0, 1.001]]), truth, truth, moved=moved)[-1] is None
    assert judged(np.array([[1.01, 1.0]]), truth, truth, moved=moved)[-1].index == (0,)


def test_an_overflow_of_ours_fails():
    truth = np.ones((1, 2))
    assert judged(np.array([[1.0, np.inf]]), truth, truth)[-1].error == np.inf


def test_what_is_beyond_the_range_of_a_precision_is_infinite_in_it():
    truth = {P: np.array([1e5, -1e5, 1 / 3, np.nan])}
    np.testing.assert_array_equal(within_range(truth, "float16")[P], [np.inf, -np.inf, 1 / 3, np.nan])
    np.testing.assert_array_equal(within_range(truth, "bfloat16")[P], truth[P])


def test_each_unit_has_limits_of_its_own():
    """A row on which PyTorch does badly does not excuse another."""
    truth, torch, ours = np.ones((1, 2, 1)), np.array([[[1.1], [1.0]]]), np.array([[[1.1], [1.1]]])
    assert judged(ours, torch, truth, unit=np.ones((1, 2, 1)))[-1].index == (1, 0)
    assert judged(ours, torch, truth, unit=np.ones((1, 1, 1)))[-1] is None


def test_steps_share_the_limits_of_their_unit():
    truth = np.ones((2, 1))
    torch, ours = truth + np.array([[1e-3], [0.0]]), truth + np.array([[0.0], [1e-3]])
    assert judged(ours, torch, truth)[-1] is None
    assert judged(ours, truth, truth)[-1].step == 1


def test_where_the_unit_is_zero_only_equality_passes():
    truth = np.zeros(2)
    assert judged(truth, truth, truth, unit=np.zeros(1)) == (0.0, 0.0, None)
    assert judged(np.array([0.0, 1e-30]), truth, truth, unit=np.zeros(1))[-1].index == ()


def test_what_is_not_a_normal_number_counts_against_the_smallest():
    truth, lost = np.array([1e-9]), np.array([0.0])
    ours, theirs, difference = judged(lost, lost, truth, unit=truth, dtype="float16")
    assert ours == theirs == pytest.approx(1e-9 / 2.0**-14)
    assert difference is None
