"""Binary cross-entropy: the ends of the unit interval, extreme logits, weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain import losses

HALVES = jnp.full((2, 3), 0.5)


@pytest.mark.parametrize("wrong", [-0.01, 1.01, jnp.nan, jnp.inf])
@pytest.mark.parametrize("position", [0, 1], ids=["input", "target"])
def test_number_outside_the_unit_interval_gives_nan_in_loss_and_gradient(wrong, position):
    arguments = [jnp.array([0.5, 0.5]), jnp.array([0.5, 0.5])]
    arguments[position] = jnp.array([wrong, 0.5])
    loss, gradient = jax.value_and_grad(losses.binary_cross_entropy)(*arguments, reduction="sum")
    assert jnp.isnan(loss)
    assert np.isnan(gradient).tolist() == [True, False]


def test_certainty_costs_at_most_a_hundred_but_has_a_slope():
    certain, truth = jnp.array([0.0, 1.0, 0.0, 1.0]), jnp.array([1.0, 0.0, 0.0, 1.0])
    assert losses.binary_cross_entropy(certain, truth, reduction="none").tolist() == [100.0, 100.0, 0.0, 0.0]
    gradient = jax.grad(losses.binary_cross_entropy)(certain, truth, reduction="sum")
    np.testing.assert_allclose(gradient, [-1e12, 1e12, 0.0, 0.0], rtol=1e-6)


def test_saturated_probabilities_have_the_same_slope_forward_as_backward():
    def loss(logits):
        return losses.binary_cross_entropy(jax.nn.sigmoid(logits), jnp.array([0.0, 1.0, 0.5]))

    logits = jnp.array([20.0, -120.0, 1.0])
    expected = jax.grad(loss)(logits)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(jax.jacfwd(loss)(logits), expected, rtol=1e-6)


@pytest.mark.parametrize("count", [60, 1020])
def test_elements_of_the_gradient_of_the_mean_share_no_error(count):
    logits = np.linspace(-3, 3, count, dtype=np.float32)
    targets = np.full(count, 0.25, np.float32)
    by_target = np.asarray(jax.jit(jax.grad(losses.binary_cross_entropy_with_logits, argnums=1))(logits, targets))
    # Multiplied by the rounded 1/N, all would be too large or too small by about half a bit.
    errors = by_target / (-logits / np.float64(count)) - 1
    assert abs(errors.mean()) < 0.2 * 2**-24
    assert np.abs(errors).max() < 2**-23


def test_mean_has_forward_and_second_derivatives():
    logits, targets = jnp.array([-1.0, 0.5, 2.0]), jnp.array([0.0, 1.0, 0.3])
    slope = jax.nn.sigmoid(logits)
    forward = jax.jacfwd(losses.binary_cross_entropy_with_logits)(logits, targets)
    np.testing.assert_allclose(forward, (slope - targets) / 3, rtol=1e-6)
    hessian = jax.hessian(losses.binary_cross_entropy_with_logits)(logits, targets)
    np.testing.assert_allclose(hessian, jnp.diag(slope * (1 - slope) / 3), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("logit", [0.0, 1e-30, 50.0, 1e4, 3e38])
def test_every_finite_logit_has_a_finite_loss_and_gradient(logit):
    for sign in (-1.0, 1.0):
        for target in (0.0, 0.3, 1.0):
            results = jax.value_and_grad(losses.binary_cross_entropy_with_logits)(sign * logit, target)
            assert np.isfinite(results).all()


def test_small_loss_of_a_sure_logit_is_not_lost():
    np.testing.assert_allclose(losses.binary_cross_entropy_with_logits(-50.0, 0.0), np.exp(-50), rtol=1e-6)


def test_pos_weight_meets_the_last_axis():
    pos_weight = jnp.array([1.0, 2.0, 3.0])
    loss = losses.binary_cross_entropy_with_logits(
        jnp.zeros((2, 3)), jnp.ones((2, 3)), pos_weight=pos_weight, reduction="none"
    )
    np.testing.assert_allclose(loss, np.log(2) * np.array([[1, 2, 3], [1, 2, 3]]), rtol=1e-6)


@pytest.mark.parametrize("loss", [losses.binary_cross_entropy, losses.binary_cross_entropy_with_logits])
def test_weights_broadcast_but_never_enlarge(loss):
    full = loss(HALVES, HALVES, jnp.array([[2.0], [4.0]]))
    np.testing.assert_allclose(full, 3 * loss(HALVES, HALVES), rtol=1e-6)
    for shape in [(2,), (5, 2, 3), (2, 4)]:
        with pytest.raises(ValueError, match=r"weight must broadcast to shape \(2, 3\), got shape"):
            loss(HALVES, HALVES, jnp.ones(shape))
    with pytest.raises(TypeError, match="weight must hold floats"):
        loss(HALVES, HALVES, jnp.ones(3, int))


def test_pos_weight_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"pos_weight must broadcast to shape \(2, 3\), got shape \(2,\)"):
        losses.binary_cross_entropy_with_logits(HALVES, HALVES, pos_weight=jnp.ones(2))
