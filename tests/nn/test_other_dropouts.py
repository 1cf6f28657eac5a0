"""Feature and alpha dropouts: what is dropped together, how often, what is kept, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from jaxtrain import nn

KEY = jax.random.key(0)
SATURATION = -1.7580993408473766
alpha_dropout = jax.jit(lambda x, p: nn.alpha_dropout(x, p, training=True, key=KEY))


@pytest.mark.parametrize("p", [0.1, 0.6])
def test_whole_channels_are_dropped_with_probability_p(p):
    dropped = np.asarray(nn.feature_dropout(jnp.ones((400, 3, 50)), p, key=KEY) == 0)
    assert (dropped == dropped[:, :1]).all()
    assert stats.binomtest(int(dropped[:, 0].sum()), 400 * 50, p).pvalue > 0.01


def test_axis_of_the_channels():
    dropped = np.asarray(nn.feature_dropout(jnp.ones((50, 20, 4)), 0.5, axis=1, key=KEY) == 0)
    assert (dropped == dropped[..., :1]).all()
    assert 0 < dropped.mean() < 1


def test_two_axes_are_examples_and_channels():
    dropped = np.asarray(nn.feature_dropout(jnp.ones((100, 50)), 0.5, key=KEY) == 0)
    assert stats.binomtest(int(dropped.sum()), 5000, 0.5).pvalue > 0.01


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_alpha_dropout_keeps_mean_and_variance(p):
    x = np.random.default_rng(0).normal(size=2**18).astype(np.float32)
    output = np.asarray(alpha_dropout(x, p), np.float64)
    assert abs(output.mean()) < 0.02
    assert abs(output.var() - 1) < 0.03


def test_alpha_dropout_by_hand():
    p, x = 0.3, jnp.full(1000, 2.0)
    a = 1 / np.sqrt((1 - p) * (1 + p * SATURATION**2))
    output = np.unique(nn.alpha_dropout(x, p, training=True, key=KEY))
    expected = [a * SATURATION - a * p * SATURATION, a * 2 - a * p * SATURATION]
    np.testing.assert_allclose(output, expected, rtol=1e-6)


def test_feature_alpha_dropout_saturates_whole_channels():
    output = np.asarray(nn.feature_alpha_dropout(jnp.ones((50, 4, 8)), 0.5, training=True, key=KEY))
    assert (output == output[:, :1]).all()
    assert len(np.unique(output)) == 2


@pytest.mark.parametrize("function", [nn.alpha_dropout, nn.feature_alpha_dropout, nn.feature_dropout])
def test_everything_dropped_is_zero_with_gradient_zero(function):
    @jax.jit
    def totals(x, p):
        known = jax.value_and_grad(lambda x: function(x, 1.0, training=True, key=KEY).sum())
        traced = jax.value_and_grad(lambda x: function(x, p, training=True, key=KEY).sum())
        return known(x), traced(x)

    for value, gradient in totals(np.ones((2, 3, 4), np.float32), 1.0):
        assert value == 0
        np.testing.assert_array_equal(gradient, np.zeros((2, 3, 4)))


def test_alpha_dropouts_are_off_by_default_as_functions():
    np.testing.assert_array_equal(nn.alpha_dropout(jnp.ones(3)), np.ones(3))
    np.testing.assert_array_equal(nn.feature_alpha_dropout(jnp.ones((1, 3))), np.ones((1, 3)))


@pytest.mark.parametrize("layer", [nn.FeatureDropout, nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_modes(layer):
    made, x = layer(0.5, rngs=nnx.Rngs(0)), jnp.ones((20, 3, 20))
    assert not np.array_equal(made(x), x)
    made.eval()
    np.testing.assert_array_equal(made(x), x)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.feature_dropout(jnp.ones(3), key=KEY), ValueError, r"as in x\[None\]"),
        (lambda: nn.feature_dropout(jnp.ones((2, 3)), axis=2, key=KEY), ValueError, "axis 2 does not exist"),
        (lambda: nn.feature_dropout(jnp.ones((2, 3)), 1.5, key=KEY), ValueError, r"p must lie in \[0, 1\]"),
        (lambda: nn.feature_dropout(jnp.ones((2, 3))), ValueError, "training needs randomness"),
        (lambda: nn.alpha_dropout(jnp.ones(3), training=True), ValueError, "training needs randomness"),
        (lambda: nn.AlphaDropout(-0.1, rngs=nnx.Rngs(0)), ValueError, r"AlphaDropout: p must lie in \[0, 1\]"),
        (lambda: nn.feature_alpha_dropout(jnp.ones(3), training=True, key=KEY), ValueError, r"x\[None\]"),
        (lambda: nn.alpha_dropout(jnp.arange(3), training=True, key=KEY), TypeError, "floating-point, got int32"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
