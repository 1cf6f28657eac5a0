"""Losses between distributions: the edges of their domains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain import losses

LOG_Q = jnp.log(jnp.array([[0.5, 0.5, 0.0], [0.25, 0.25, 0.5]]))
P = jnp.array([[0.25, 0.75, 0.0], [0.0, 0.5, 0.5]])


def test_reductions_of_kl_div_differ_in_their_divisor():
    total = losses.kl_div(LOG_Q, P, reduction="sum")
    np.testing.assert_allclose(total, 0.25 * np.log(0.5) + 0.75 * np.log(1.5) + 0.5 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(losses.kl_div(LOG_Q, P, reduction="batchmean"), total / 2, rtol=1e-6)
    np.testing.assert_allclose(losses.kl_div(LOG_Q, P, reduction="mean"), total / 6, rtol=1e-6)
    np.testing.assert_allclose(losses.kl_div(-0.5, 1.0, reduction="batchmean"), 0.5)


def test_impossible_in_both_adds_nothing():
    value, gradient = jax.value_and_grad(losses.kl_div)(LOG_Q, P, "sum")
    assert jnp.isfinite(value)
    np.testing.assert_allclose(gradient, -P)
    from_logarithms = jax.value_and_grad(losses.kl_div, (0, 1))(LOG_Q, jnp.log(P), "sum", log_target=True)
    np.testing.assert_allclose(from_logarithms[0], value, rtol=1e-6)
    assert all(jnp.isfinite(gradient).all() for gradient in from_logarithms[1])


def test_impossible_prediction_of_the_possible_costs_infinitely_much():
    assert losses.kl_div(-jnp.inf, 0.5) == jnp.inf


@pytest.mark.parametrize("log_target", [False, True])
def test_a_nan_prediction_is_nan_even_of_the_impossible(log_target):
    assert jnp.isnan(losses.kl_div(jnp.nan, -jnp.inf if log_target else 0.0, log_target=log_target))


def test_negative_target_gives_nan():
    assert jnp.isnan(losses.kl_div(-1.0, -0.5))


def test_kl_div_names_its_fourth_reduction():
    with pytest.raises(ValueError, match="'batchmean', got 'batch'"):
        losses.kl_div(LOG_Q, P, reduction="batch")


def test_poisson_adds_stirling_only_above_one():
    rate = jnp.ones(3)
    plain, full = (
        losses.poisson_nll_loss(rate, jnp.array([0, 1, 2]), full=full, reduction="none") for full in (False, True)
    )
    np.testing.assert_allclose(full - plain, [0, 0, 2 * np.log(2) - 2 + 0.5 * np.log(4 * np.pi)], atol=1e-6)


def test_poisson_has_a_finite_slope_in_targets_up_to_one():
    slope = jax.grad(losses.poisson_nll_loss, 1)(jnp.full(2, 0.5), jnp.array([0.0, -1.0]), full=True, reduction="sum")
    assert slope.tolist() == [-0.5, -0.5]


def test_poisson_rate_of_zero_is_kept_finite_by_eps():
    np.testing.assert_allclose(losses.poisson_nll_loss(0.0, 1.0, log_input=False), -np.log(1e-8), rtol=1e-6)
    assert jnp.isnan(losses.poisson_nll_loss(-1.0, 1.0, log_input=False))


def test_clamped_variance_keeps_its_slope():
    slope = jax.grad(losses.gaussian_nll_loss, 2)(jnp.array([0.1]), jnp.array([0.0]), jnp.array([1e-9]))
    np.testing.assert_allclose(slope, 0.5 * (1e6 - 0.01 * 1e12), rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (2,), (2, 1), (1, 3)])
def test_variance_may_be_shared_along_one_axis(shape):
    value = losses.gaussian_nll_loss(jnp.ones((2, 3)), jnp.zeros((2, 3)), jnp.full(shape, 0.5))
    np.testing.assert_allclose(value, 0.5 * (np.log(0.5) + 2), rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (3,), (1, 1), (2, 3, 1), (1, 2, 3)])
def test_variance_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"var must have the shape of input \(2, 3\)"):
        losses.gaussian_nll_loss(jnp.ones((2, 3)), jnp.zeros((2, 3)), jnp.ones(shape))


@pytest.mark.parametrize("shape", [(), (3,), (2, 1), (1, 1)])
def test_target_of_a_gaussian_broadcasts(shape):
    mean, var = jnp.arange(6.0).reshape(2, 3), jnp.full((2, 3), 0.5)
    target = jnp.ones(shape)
    each, slope = jax.value_and_grad(losses.gaussian_nll_loss, 1)(mean, target, var)
    whole = losses.gaussian_nll_loss(mean, jnp.ones((2, 3)), var)
    assert each == whole
    assert slope.shape == shape
    np.testing.assert_allclose(slope.sum(), (1 - mean).mean() / 0.5, rtol=1e-6)


@pytest.mark.parametrize("shape", [(2,), (3, 1), (1, 2, 3)])
def test_target_of_a_gaussian_that_does_not_broadcast_is_refused(shape):
    with pytest.raises(ValueError, match=r"gaussian_nll_loss: target must broadcast to the shape of input \(2, 3\)"):
        losses.gaussian_nll_loss(jnp.ones((2, 3)), jnp.zeros(shape), jnp.ones((2, 3)))


def test_negative_variance_is_refused_as_a_number_and_nan_in_an_array():
    with pytest.raises(ValueError, match=r"gaussian_nll_loss: var must lie in \[0, inf\], got -0.5"):
        losses.gaussian_nll_loss(jnp.ones(2), jnp.zeros(2), -0.5)
    value, slope = jax.value_and_grad(losses.gaussian_nll_loss)(jnp.ones(2), jnp.zeros(2), jnp.array([1.0, -1.0]))
    assert jnp.isnan(value)
    assert np.isnan(slope).tolist() == [False, True]
