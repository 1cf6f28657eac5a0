"""Layouts and limits."""

import numpy as np
import pytest

from parity.diff.arrays import compared, floor_of, layout_of, units
from parity.diff.judge import fed
from parity.diff.records import Call, Replayed

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2), (1, 0, 2, 3)])
def test_the_layout_of_an_image_is_recognised_and_undone(axes):
    theirs = RNG.normal(size=(2, 2, 2, 2))  # Only the values tell the axes apart.
    layout = layout_of(theirs, np.transpose(theirs, axes))
    assert layout.axes == axes
    np.testing.assert_array_equal(layout.to_torch(layout.to_jax(theirs), theirs.shape), theirs)


def test_equal_shapes_stay_unless_another_order_is_far_nearer():
    a = RNG.normal(size=(3, 3))
    assert layout_of(a, a + 1).axes == (0, 1)
    assert layout_of(a, np.zeros((2, 2))) is None
    assert layout_of(np.zeros((2, 3, 4)), np.zeros((6, 4))).to_jax(np.zeros((2, 3, 4))).shape == (6, 4)


@pytest.mark.parametrize(
    ("shape", "axes", "ours"),
    [
        ((2, 6, 3, 3), (0, 2, 3, 1), (2, 9, 6)),  # An image as a row of tokens.
        ((2, 6, 3, 3), (0, 1, 2, 3), (2, 54)),
        ((2, 2, 5, 4), (0, 2, 1, 3), (2, 5, 2, 4)),  # Heads.
        ((2, 3, 4), (0, 1, 2), (6, 4)),
    ],
)
def test_other_shapes_are_recognised_even_where_the_values_are_wrong(shape, axes, ours):
    theirs = RNG.normal(size=shape)
    layout = layout_of(theirs, RNG.normal(size=ours))
    assert layout.axes == axes
    np.testing.assert_array_equal(layout.to_torch(layout.to_jax(theirs), shape), theirs)


def test_the_limit_is_what_rounding_explains():
    true = np.array([1.0, 2.0])
    floor = floor_of(true.astype(np.float32), true)
    assert not compared("output", "a", true * (1 + 1e-14), true, floor).differs
    assert compared("output", "a", true * (1 + 2e-12), true, floor).differs
    # Where PyTorch in float32 is far off, float64 may be off, too.
    noisy = compared("output", "a", true * (1 + 1e-9), true, floor_of(true * 1.1, true))
    assert not noisy.differs
    assert noisy.amplified
    assert noisy.limit == pytest.approx(16 * 0.1 * 2.0**-29)
    assert compared("output", "a", np.zeros(3), true).differs
    assert compared("output", "a", np.array([1.0, np.nan]), true).differs
    assert floor_of(np.array([np.inf, 1.0, np.nan]), np.array([1.0, 1.5, np.nan])) == 0.5


def test_large_arrays_are_compared_block_by_block(monkeypatch):
    ours, theirs = RNG.normal(size=(3, 5)), np.zeros((3, 5))
    ours[2, 1] = -9.0
    whole = compared("output", "a", ours, theirs, unit=1.0)
    monkeypatch.setattr("parity.diff.arrays.BLOCK", 4)
    assert compared("output", "a", ours, theirs, unit=1.0) == whole
    assert (whole.index, whole.error) == ((2, 1), 9.0)
    assert floor_of(ours, theirs) == 9.0
    assert units({"a": ours}) == {"a": 9.0}


def test_a_gradient_that_cancels_is_measured_by_the_others():
    assert units({"weight": np.array([2.0]), "bias": np.array([1e-17])}) == {"weight": 2.0, "bias": 2.0}


def test_one_array_of_ours_stands_for_all_copies_of_it():
    x = RNG.normal(size=(2, 3))
    given = fed(Call("a", 0, "A", None, [x], []), Call("a", 0, "A", None, [x, x.copy(), x.copy()], []))
    assert given.copies == {1: 0, 2: 0}
    found = given.together(Replayed([], [x, 2 * x, 4 * x]))
    np.testing.assert_allclose(np.asarray(found.input_gradients[0]), 7 * x)
    assert found.input_gradients[1:] == [None, None]
