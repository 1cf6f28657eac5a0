"""`nn.LayerNorm`: values worked out by hand, precision, dtypes, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxtrain import nn


def test_by_hand():
    output = nn.layer_norm(jnp.array([1.0, 5.0]), 2, jnp.array([10.0, 1.0]), jnp.array([0.0, 3.0]), eps=5.0)
    np.testing.assert_allclose(output, [-20 / 3, 3 + 2 / 3], rtol=1e-6)


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e5])
def test_far_mean_costs_no_digits(mean):
    x = (mean + 2 * np.random.default_rng(0).normal(size=(16, 256))).astype(np.float32)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    assert np.abs(nn.layer_norm(jnp.asarray(x), 256) - expected).max() < 2e-6


def test_several_axes_share_their_statistics():
    x, normalize = (
        np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32),
        jax.jit(nn.layer_norm, static_argnums=1),
    )
    np.testing.assert_allclose(normalize(x, (3, 4)).ravel(), normalize(x.reshape(2, 12), 12).ravel(), atol=1e-6)


def test_parameters():
    assert nn.LayerNorm((3, 4)).weight.shape == (3, 4)
    assert nn.LayerNorm(3, bias=False).bias is None
    assert not jax.tree.leaves(nnx.state(nn.LayerNorm(3, elementwise_affine=False)))
    assert nn.LayerNorm(3, param_dtype=jnp.bfloat16).weight.dtype == jnp.bfloat16


def test_half_precision_is_normalized_in_float32():
    x = jnp.array([1000.0, 1008.0, 1024.0, 1032.0], jnp.bfloat16)
    output = nn.LayerNorm(4)(x)
    assert output.dtype == jnp.bfloat16
    np.testing.assert_allclose(output.astype(float), np.array([-16, -8, 8, 16]) / np.sqrt(160), rtol=4e-3)


def test_single_element_is_zero_and_stays_differentiable():
    value, gradient = jax.value_and_grad(lambda x: nn.layer_norm(x, 1).sum())(jnp.array([[5.0]]))
    assert value == 0
    np.testing.assert_array_equal(gradient, [[0.0]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.LayerNorm(3)(jnp.ones((2, 4))), ValueError, r"shape \(\.\.\., 3\), got \(2, 4\)"),
        (lambda: nn.LayerNorm((2, 3))(jnp.ones(3)), ValueError, r"shape \(\.\.\., 2, 3\), got \(3,\)"),
        (lambda: nn.LayerNorm(()), ValueError, "at least one axis"),
        (lambda: nn.LayerNorm(3, eps=-1.0), ValueError, r"eps must lie in \[0, inf\], got -1.0"),
        (lambda: nn.layer_norm(jnp.ones(3), 3, eps=-1.0), ValueError, r"eps must lie in \[0, inf\]"),
        (lambda: nn.layer_norm(jnp.ones(3), 3, jnp.ones(2)), ValueError, r"weight must have the shape \(3,\)"),
        (lambda: nn.LayerNorm(3)(jnp.ones(3, int)), TypeError, "floating-point, got int32"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
