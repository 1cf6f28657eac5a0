"""Losses between real values: kinks, ranges, weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain import losses

ZERO = jnp.zeros(3)


@pytest.mark.parametrize("loss", [losses.l1_loss, losses.smooth_l1_loss, losses.huber_loss, losses.rmse_loss])
def test_gradient_at_zero_error_is_zero(loss):
    assert jax.grad(loss)(ZERO, ZERO).tolist() == [0.0, 0.0, 0.0]


def test_gradient_of_rmse_is_the_unit_vector_of_the_error():
    error = jnp.array([3.0, 0.0, 4.0])
    np.testing.assert_allclose(jax.grad(losses.rmse_loss)(error, ZERO, "sum"), [0.6, 0.0, 0.8], rtol=1e-6)


def test_rmse_of_elements_is_the_absolute_error():
    assert losses.rmse_loss(jnp.array([-2.0, 0.0]), jnp.array([1.0, 0.0]), reduction="none").tolist() == [3.0, 0.0]


@pytest.mark.parametrize(("loss", "slope"), [(losses.smooth_l1_loss, 1.0), (losses.huber_loss, 0.5)])
def test_both_pieces_have_the_same_slope_where_they_meet(loss, slope):
    gradient = jax.grad(lambda error: loss(error, 0.0, "mean", 0.5))
    assert [float(gradient(error)) for error in (-0.5, 0.5)] == [-slope, slope]


@pytest.mark.parametrize("width", [0.5, jnp.inf])
@pytest.mark.parametrize("loss", [losses.smooth_l1_loss, losses.huber_loss])
def test_infinite_error_keeps_its_sign_in_the_gradient(loss, width):
    gradient = jax.grad(lambda error: loss(error, jnp.zeros(2), "sum", width))(jnp.array([-jnp.inf, 0.25]))
    assert not jnp.isnan(gradient[1])
    if width == 0.5:
        assert gradient[0] < 0


def test_smooth_l1_without_width_is_l1_also_when_traced():
    error = jnp.array([-2.0, 0.0, 0.5])

    @jax.jit
    def loss_and_gradient(beta):
        return jax.value_and_grad(losses.smooth_l1_loss)(error, ZERO, "sum", beta)

    for beta in (0.0, 0):
        loss, gradient = loss_and_gradient(beta)
        assert loss == losses.smooth_l1_loss(error, ZERO, "sum", beta) == 2.5
        assert gradient.tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize("beta", [-1.0, jnp.nan])
def test_smooth_l1_refuses_negative_beta(beta):
    with pytest.raises(ValueError, match=r"smooth_l1_loss: beta must lie in \[0, inf\], got"):
        losses.smooth_l1_loss(ZERO, ZERO, beta=beta)


@pytest.mark.parametrize("delta", [-1.0, 0.0, jnp.nan])
def test_huber_refuses_delta_that_is_not_positive(delta):
    with pytest.raises(ValueError, match=r"huber_loss: delta must lie in \(0, inf\], got"):
        losses.huber_loss(ZERO, ZERO, delta=delta)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [(losses.mse_loss, 3.25), (losses.rmse_loss, 3.25**0.5), (losses.l1_loss, 1.75), (losses.huber_loss, 2.5)],
)
def test_only_huber_divides_by_the_count_when_weighted(loss, expected):
    weight = jnp.array([1.0, 3.0])
    np.testing.assert_allclose(loss(jnp.array([1.0, 2.0]), jnp.zeros(2), weight=weight), expected, rtol=1e-6)


def test_weight_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"mse_loss: expected arrays of one shape, got .* weight \(1,\)"):
        losses.mse_loss(ZERO, ZERO, weight=jnp.ones(1))


def test_integer_target_is_a_number_like_any_other():
    loss = losses.mse_loss(jnp.array([1.5], jnp.bfloat16), jnp.array([1]))
    assert loss == 0.25
    assert loss.dtype == jnp.bfloat16


def test_mean_of_many_elements_is_correctly_rounded():
    error = np.random.default_rng(0).normal(size=1_000_000).astype(np.float32)
    truth = np.mean(np.abs(error).astype(np.float64)).astype(np.float32)
    assert losses.l1_loss(error, np.zeros_like(error)) == truth
