"""Losses of pairs and triplets: hinges, zero distances, hyper-parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain import losses

ZERO = jnp.zeros((1, 3))


def test_hinge_embedding_at_the_hinge_has_the_slope_of_the_active_side():
    assert jax.grad(losses.hinge_embedding_loss)(1.0, -1) == -1
    assert jax.grad(losses.hinge_embedding_loss)(1.5, -1) == 0


def test_hinge_embedding_of_another_target_adds_both_parts():
    assert losses.hinge_embedding_loss(0.25, 0) == 0.25 + 0.75


def test_zero_vector_is_orthogonal_to_all():
    assert losses.cosine_embedding_loss(ZERO, jnp.ones((1, 3)), jnp.array([1])) == 1
    assert jnp.isfinite(jax.grad(losses.cosine_embedding_loss)(ZERO, jnp.ones((1, 3)), jnp.array([1]))).all()


def test_cosine_embedding_at_the_hinge_has_the_slope_of_the_active_side():
    slope = jax.grad(losses.cosine_embedding_loss)(jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]), -1)
    np.testing.assert_allclose(slope, [0, 1], atol=1e-6)


@pytest.mark.parametrize(("shape", "target"), [((2, 3), ()), ((3,), (1,)), ((2, 3), (3,)), ((1, 2, 3), (1, 2))])
def test_cosine_embedding_needs_one_target_a_vector(shape, target):
    with pytest.raises(ValueError, match="expected one vector or a batch of them, and a target for each"):
        losses.cosine_embedding_loss(jnp.ones(shape), jnp.ones(shape), jnp.ones(target))


@pytest.mark.parametrize("p", [0.5, 1, 2, 3, jnp.inf])
def test_distance_zero_has_gradient_zero(p):
    gradient = jax.grad(losses.triplet_margin_loss)(ZERO, ZERO, ZERO, p=p, eps=0.0)
    assert gradient.tolist() == [[0, 0, 0]]


def test_eps_is_added_to_every_coordinate():
    loss = losses.triplet_margin_loss(ZERO, ZERO, jnp.array([[9.0, 0.0, 0.0]]), margin=10.0, p=1, eps=0.5)
    assert loss == 10 + 1.5 - (8.5 + 0.5 + 0.5)


def test_swap_takes_the_nearer_of_both_distances():
    anchor, positive, negative = jnp.array([0.0]), jnp.array([3.0]), jnp.array([5.0])
    for loss in (losses.triplet_margin_loss, losses.triplet_margin_with_distance_loss):
        plain, swapped = (float(loss(anchor, positive, negative, margin=4.0, swap=swap)) for swap in (False, True))
        assert (round(plain, 4), round(swapped, 4)) == (2, 5)


def test_largest_coordinates_share_the_gradient_of_the_maximum_norm():
    gradient = jax.grad(losses.triplet_margin_loss)(
        ZERO, jnp.array([[2.0, -2.0, 1.0]]), ZERO, margin=5.0, p=jnp.inf, eps=0.0
    )
    assert gradient.tolist() == [[-0.5, 0.5, 0]]


@pytest.mark.parametrize("loss", [losses.triplet_margin_loss, losses.triplet_margin_with_distance_loss])
@pytest.mark.parametrize("margin", [0.0, -1.0, jnp.nan])
def test_margin_must_be_positive(loss, margin):
    with pytest.raises(ValueError, match=r"margin must lie in \(0, inf\]"):
        loss(ZERO, ZERO, ZERO, margin=margin)


def test_degree_must_be_positive():
    with pytest.raises(ValueError, match=r"triplet_margin_loss: p must lie in \(0, inf\], got 0"):
        losses.triplet_margin_loss(ZERO, ZERO, ZERO, p=0)


def test_scalars_are_refused_as_vectors():
    with pytest.raises(ValueError, match="expected vectors along the last axis, got scalars"):
        losses.triplet_margin_loss(1.0, 2.0, 3.0)


def test_swap_takes_the_nearer_by_a_distance_of_ones_own():
    def distance(x, y):
        return jnp.abs(x - y).sum(-1)

    given = jnp.array([[0.0], [2.0], [3.0]])[:, None]
    loss = losses.triplet_margin_with_distance_loss
    assert loss(*given, distance_function=distance) == 0.0
    assert loss(*given, distance_function=distance, swap=True) == 2.0
