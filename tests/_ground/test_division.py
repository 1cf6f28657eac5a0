"""Quotients without the error of a rounded inverse."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrain._ground.division import divided

VALUES = np.random.default_rng(0).normal(size=1000).astype(np.float32)


@jax.jit
def quotients(values):
    result, pullback = jax.vjp(lambda values: divided(values, 15), values)
    return result, pullback(values)[0], values / 15


def test_quotients_and_their_gradients_share_no_error():
    exact = VALUES.astype(np.float64) / 15
    result, gradient, product = (np.asarray(values) / exact - 1 for values in quotients(VALUES))
    assert max(np.abs(result).max(), np.abs(gradient).max()) < 2**-23
    assert max(abs(result.mean()), abs(gradient.mean())) < 0.1 * 2**-24
    assert abs(product.mean()) > 0.5 * 2**-24  # What the compiler makes of a division.


def test_numbers_that_are_not_finite_stay_as_they_are():
    np.testing.assert_array_equal(divided(jnp.array([np.nan, np.inf, -np.inf, 0.0]), 3), [np.nan, np.inf, -np.inf, 0])


def test_powers_of_two_and_other_precisions_are_divided_as_usual():
    np.testing.assert_array_equal(jax.jit(lambda values: divided(values, 16))(VALUES), VALUES / 16)
    half = jnp.asarray(VALUES, jnp.bfloat16)
    np.testing.assert_array_equal(divided(half, 15), half / 15)
