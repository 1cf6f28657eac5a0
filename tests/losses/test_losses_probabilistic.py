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


def test_negative_target_gives_nan():
    assert jnp.isnan(losses.kl_div(-1.0, -0.5))


def test_kl_div_names_its_fourth_reduction():
    with pytest.raises(ValueError, match="'batchmean', got 'batch'"):
        losses.kl_div(LOG_Q, P, reduction="batch")
