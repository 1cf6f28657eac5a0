"""Cross-entropy and negative log-likelihood: targets of all kinds, good and bad."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain import losses

LOGITS = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]))
LABELS = jnp.array([0, 1])
WEIGHT = np.array([1.0, 2.0, 3.0], np.float32)
both = pytest.mark.parametrize("loss", [losses.cross_entropy, losses.nll_loss])


@both
@pytest.mark.parametrize("wrong", [3, -1, 2**31 - 1])
@pytest.mark.parametrize("transform", [lambda function: function, jax.jit], ids=["eager", "jit"])
def test_class_out_of_range_gives_nan_in_loss_and_gradient(loss, wrong, transform):
    value_and_gradient = transform(jax.value_and_grad(loss))
    value, gradient = value_and_gradient(LOGITS, jnp.array([0, wrong]))
    assert jnp.isnan(value)
    assert jnp.isnan(gradient[1]).any()


@both
def test_class_out_of_range_spoils_only_its_own_row(loss):
    each = loss(LOGITS, jnp.array([0, 3]), reduction="none")
    np.testing.assert_allclose(each, [np.log(2), np.nan], rtol=1e-6)


@both
def test_ignored_rows_count_in_neither_sum_nor_mean(loss):
    value, gradient = jax.value_and_grad(loss)(LOGITS, jnp.array([0, -100]))
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    assert gradient[1].tolist() == [0, 0, 0]


@both
def test_ignored_class_may_be_a_real_one(loss):
    np.testing.assert_allclose(loss(LOGITS, LABELS, ignore_index=1), np.log(2), rtol=1e-6)


@both
@pytest.mark.parametrize("weight", [None, jnp.array([1.0, 2.0, 3.0])], ids=["unweighted", "weighted"])
def test_everything_ignored_has_mean_nan_sum_zero_gradient_zero(loss, weight):
    nothing = jnp.array([-100, -100])
    value, gradient = jax.value_and_grad(loss)(LOGITS, nothing, weight)
    assert jnp.isnan(value)
    assert not gradient.any()
    assert loss(LOGITS, nothing, weight, reduction="sum") == 0


def test_the_mean_is_nan_where_every_class_weighs_nothing():
    weight, smoothing = jnp.array([0.0, 0.0, 1.0]), 0.5
    value, gradient = jax.value_and_grad(losses.cross_entropy)(LOGITS, LABELS, weight, label_smoothing=smoothing)
    assert jnp.isnan(value)
    assert jnp.isnan(gradient).all()
    assert losses.cross_entropy(LOGITS, LABELS, weight, label_smoothing=smoothing, reduction="sum") > 0


@both
def test_unbatched_input_has_one_class(loss):
    np.testing.assert_allclose(loss(LOGITS[0], 0), np.log(2), rtol=1e-6)


@both
def test_axis_one_is_the_layout_of_pytorch(loss):
    images = jnp.moveaxis(LOGITS.reshape(1, 2, 1, 3), -1, 1)
    np.testing.assert_allclose(
        loss(images, LABELS.reshape(1, 2, 1), axis=1, reduction="none"), [[[np.log(2)], [np.log(4)]]], rtol=1e-6
    )


@pytest.mark.parametrize(
    "loss",
    [
        partial(losses.cross_entropy, weight=WEIGHT, label_smoothing=0.3),
        partial(losses.cross_entropy, weight=WEIGHT, label_smoothing=0.3, ignore_index=1),
        partial(losses.nll_loss, weight=WEIGHT, ignore_index=1),
    ],
)
def test_every_option_knows_the_axis_of_the_classes(loss):
    numbers = np.random.default_rng(0)
    images, labels = numbers.normal(size=(2, 3, 1, 4)).astype(np.float32), numbers.integers(0, 3, (2, 1, 4))
    expected = loss(np.moveaxis(images, 1, -1), labels, reduction="none")
    np.testing.assert_allclose(loss(images, labels, axis=1, reduction="none"), expected, rtol=1e-6)


def test_probabilities_know_the_axis_of_the_classes():
    images, soft = np.random.default_rng(0).uniform(size=(2, 2, 3, 1, 4)).astype(np.float32)
    last = (np.moveaxis(array, 1, -1) for array in (images, soft))
    loss = partial(losses.cross_entropy, weight=WEIGHT, label_smoothing=0.3, reduction="none")
    np.testing.assert_allclose(loss(images, soft, axis=1), loss(*last), rtol=1e-6)


@both
@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int8, jnp.int16, jnp.int32])
def test_any_small_integer_type_is_a_class(loss, dtype):
    wide = jnp.zeros((2, 300))
    np.testing.assert_allclose(loss(wide, jnp.array([7, 100], dtype)), loss(wide, jnp.array([7, 100])))


@both
@pytest.mark.parametrize("dtype", [bool, jnp.uint32, jnp.complex64])
def test_other_types_do_not_hold_classes(loss, dtype):
    with pytest.raises(TypeError, match="target must hold classes as signed integers or uint8"):
        loss(LOGITS, LABELS.astype(dtype))


@both
def test_shapes_that_do_not_fit_are_refused(loss):
    with pytest.raises(ValueError, match=r"shape of input \(2, 3\) without axis 1, got \(2, 3\)"):
        loss(LOGITS, jnp.ones((2, 3), int))
    with pytest.raises(ValueError, match=r"axis 2 is the class axis, but input has shape \(2, 3\)"):
        loss(LOGITS, LABELS, axis=2)
    with pytest.raises(ValueError, match=r"at least one class along axis -1, got shape \(2, 0\)"):
        loss(LOGITS[:, :0], LABELS)
    with pytest.raises(ValueError, match=r"one entry for each of 3 classes, got shape \(2,\)"):
        loss(LOGITS, LABELS, jnp.ones(2))


@both
@pytest.mark.parametrize(
    ("shape", "axis", "classes", "way_out"),
    [
        ((2, 3, 4), -1, (2, 4), "if the classes lie along axis 1, as in PyTorch, pass axis=1"),
        ((2, 3), 0, (2,), "if the classes lie along axis 1, as in PyTorch, pass axis=1"),
        ((2, 3, 4), -1, (2, 3, 4), "probabilities must be floats"),
        ((3,), 0, (3,), "probabilities must be floats"),
    ],
)
def test_the_error_of_classes_that_do_not_fit_says_what_may_be_meant(loss, shape, axis, classes, way_out):
    with pytest.raises(ValueError, match=f"got {re.escape(str(classes))}; {way_out}"):
        loss(jnp.zeros(shape), jnp.zeros(classes, int), axis=axis)


def test_nll_refuses_probabilities():
    with pytest.raises(TypeError, match="target must hold classes"):
        losses.nll_loss(LOGITS, jnp.ones((2, 3)))


def test_probabilities_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"probabilities must have the shape of input \(2, 3\), got \(2,\); classes"):
        losses.cross_entropy(LOGITS, jnp.array([0.0, 1.0]))


def test_ignore_index_is_refused_with_probabilities():
    with pytest.raises(ValueError, match="ignore_index is for integer classes, but target holds float32"):
        losses.cross_entropy(LOGITS, jnp.ones((2, 3)), ignore_index=0)


@pytest.mark.parametrize("label_smoothing", [-0.1, 1.1, jnp.nan])
def test_label_smoothing_out_of_range_is_refused(label_smoothing):
    with pytest.raises(ValueError, match=r"label_smoothing must lie in \[0, 1\]"):
        losses.cross_entropy(LOGITS, LABELS, label_smoothing=label_smoothing)


@both
@pytest.mark.parametrize("wrong", [None, "pad", 1.5, True, np.array([0, 1]), 2**40])
def test_ignored_class_must_be_an_integer(loss, wrong):
    with pytest.raises((TypeError, ValueError), match="ignore_index must be"):
        loss(LOGITS, LABELS, ignore_index=wrong)


@both
@pytest.mark.parametrize("transform", [lambda function: function, jax.jit], ids=["eager", "jit"])
def test_ignored_class_may_be_an_array_without_axes(loss, transform):
    loss = transform(loss)
    np.testing.assert_allclose(loss(LOGITS, LABELS, None, jnp.array(1)), np.log(2), rtol=1e-6)
    for wrong in (jnp.array(1.5), jnp.array([1]), jnp.array(True)):
        with pytest.raises(TypeError, match="ignore_index must be an integer"):
            loss(LOGITS, LABELS, None, wrong)


def test_traced_ignored_class_is_refused_with_probabilities():
    with pytest.raises(ValueError, match="ignore_index is for integer classes"):
        jax.jit(losses.cross_entropy)(LOGITS, jax.nn.softmax(LOGITS), None, 1)


def test_label_smoothing_may_be_traced():
    smoothed = jax.jit(lambda epsilon: losses.cross_entropy(LOGITS, LABELS, label_smoothing=epsilon))
    for epsilon in (0.0, 0.3):
        np.testing.assert_allclose(
            smoothed(epsilon), losses.cross_entropy(LOGITS, LABELS, label_smoothing=epsilon), rtol=1e-6
        )


def test_one_hot_probabilities_are_classes():
    masked = LOGITS.at[:, 2].set(-jnp.inf)
    by_class = jax.value_and_grad(losses.cross_entropy)(masked, LABELS)
    by_probability = jax.value_and_grad(losses.cross_entropy)(masked, jax.nn.one_hot(LABELS, 3))
    for one, other in zip(by_class, by_probability, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
        assert np.isfinite(one).all()


def test_class_of_weight_zero_adds_nothing_even_at_probability_zero():
    masked = LOGITS.at[:, 2].set(-jnp.inf)
    weight = jnp.array([1.0, 1.0, 0.0])
    np.testing.assert_allclose(losses.cross_entropy(masked, jnp.array([0, 2]), weight), np.log(1.5), rtol=1e-6)
    assert jnp.isfinite(losses.cross_entropy(masked, LABELS, weight, label_smoothing=0.1))


def test_impossible_class_costs_infinitely_much():
    assert losses.cross_entropy(LOGITS.at[0, 0].set(-jnp.inf), LABELS) == jnp.inf


def test_huge_logits_overflow_nothing():
    value, gradient = jax.value_and_grad(losses.cross_entropy)(jnp.array([1e38, -1e38, 0.0]), 2)
    assert value == 1e38
    assert gradient.tolist() == [1.0, 0.0, -1.0]
