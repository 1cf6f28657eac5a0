"""Quotients that no compiler may make a product of a rounded inverse."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrain._ground.division import divided

VALUES = np.random.default_rng(0).normal(size=1000).astype(np.float32)


@jax.jit
def quotients(values):
    result, pullback = jax.vjp(lambda values: divided(values, 15), values)
    return result, pullback(values)[0], values / 15


def test_quotients_and_their_gradients_are_rounded_once():
    exact = VALUES / np.float32(15)
    result, gradient, product = quotients(VALUES)
    np.testing.assert_array_equal(result, exact)
    np.testing.assert_array_equal(gradient, exact)
    assert np.mean(np.asarray(product) != exact) > 0.5  # What the compiler makes of a division.


def test_numbers_that_are_not_finite_stay_as_they_are():
    np.testing.assert_array_equal(divided(jnp.array([np.nan, np.inf, -np.inf, 0.0]), 3), [np.nan, np.inf, -np.inf, 0])
