"""Losses with a margin: hinges, lists of classes, overflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jaxtrain import losses

SCORES = jnp.array([[0.25, 0.5, 2.0], [1.0, 0.0, 0.5]])


def test_margin_ranking_at_the_hinge_has_the_slope_of_the_active_side():
    assert jax.grad(losses.margin_ranking_loss)(1.0, 1.0, 1) == -1


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("margin_ranking_loss", ([2.0, 0.0], [0.0, 2.0], [1.0, 1.0])),
        ("hinge_embedding_loss", ([-2.0, 0.25], [-1.0, -1.0])),
        ("cosine_embedding_loss", ([[1.0, 0.0], [1.0, 0.0]], [[-1.0, 0.5], [0.0, 1.0]], [-1.0, -1.0])),
        ("multi_margin_loss", ([[0.25, 2.0], [1.0, 0.75]], [0, 1])),
    ],
)
def test_a_margin_may_be_negative(name, arrays):
    expected = getattr(F, name)(*map(torch.tensor, arrays), margin=-0.5, reduction="none")
    assert np.count_nonzero(expected) > 0
    ours = getattr(losses, name)(*map(jnp.array, arrays), margin=-0.5, reduction="none")
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


@pytest.mark.parametrize("input", [-100.0, -1e4, -3e38])
def test_soft_margin_never_overflows(input):
    value, slope = jax.value_and_grad(losses.soft_margin_loss)(input, 1)
    assert value == -jnp.float32(input)
    assert slope == -1


def test_multi_margin_at_the_hinge_has_slope_zero():
    gradient = jax.grad(losses.multi_margin_loss)(jnp.array([1.0, 0.0, -1.0]), 0)
    assert gradient.tolist() == [0, 0, 0]


@pytest.mark.parametrize("wrong", [-1, 3])
@pytest.mark.parametrize("transform", [lambda function: function, jax.jit], ids=["eager", "jit"])
def test_multi_margin_of_an_unknown_class_is_nan(wrong, transform):
    each = transform(lambda scores: losses.multi_margin_loss(scores, jnp.array([0, wrong]), reduction="none"))
    assert np.isnan(each(SCORES)).tolist() == [False, True]
    gradient = jax.grad(lambda scores: each(scores).sum())(SCORES)
    assert np.isnan(gradient).any(1).tolist() == [False, True]


def test_multi_margin_refuses_other_powers_and_shapes():
    with pytest.raises(ValueError, match="p must be one of 1, 2, got 3"):
        losses.multi_margin_loss(SCORES, jnp.array([0, 1]), p=3)
    with pytest.raises(ValueError, match=r"expected a class for each example, of shape \(2,\), got \(3,\)"):
        losses.multi_margin_loss(SCORES, jnp.array([0, 1, 2]))
    with pytest.raises(ValueError, match=r"input must have shape \(classes,\) or \(batch, classes\), got \(1, 2, 3\)"):
        losses.multi_margin_loss(SCORES[None], jnp.array([[0, 1]]))
    with pytest.raises(ValueError, match="one entry for each of 3 classes"):
        losses.multi_margin_loss(SCORES, jnp.array([0, 1]), weight=jnp.ones(2))


def test_multilabel_margin_stops_at_the_first_minus_one():
    one, other = (losses.multilabel_margin_loss(SCORES[0], jnp.array(labels)) for labels in ([1, -1, 2], [1, -1, -1]))
    assert one == other == (0.75 + 2.5) / 3


def test_multilabel_margin_counts_a_label_as_often_as_it_is_listed():
    once, twice = (losses.multilabel_margin_loss(SCORES[0], jnp.array(labels)) for labels in ([0, -1, -1], [0, 0, -1]))
    assert twice == 2 * once > 0


def test_multilabel_margin_without_labels_is_zero():
    assert losses.multilabel_margin_loss(SCORES, jnp.full((2, 3), -1)) == 0


@pytest.mark.parametrize("labels", [[3, -1, -1], [-2, -1, -1], [0, -1, 9]])
def test_multilabel_margin_of_an_unknown_class_is_nan(labels):
    value, gradient = jax.value_and_grad(losses.multilabel_margin_loss)(SCORES[0], jnp.array(labels))
    assert jnp.isnan(value)
    assert jnp.isnan(gradient).any()


def test_multilabel_soft_margin_needs_classes():
    with pytest.raises(ValueError, match="expected classes along the last axis, got a scalar"):
        losses.multilabel_soft_margin_loss(0.5, 1)
