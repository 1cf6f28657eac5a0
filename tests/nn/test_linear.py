"""`nn.Linear`: initialization, sizes, dtypes, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from scipy import stats

from jaxtrain import nn


@pytest.mark.parametrize("name", ["kernel", "bias"])
def test_initial_values_are_distributed_as_in_torch(name):
    ours = np.ravel(getattr(nn.Linear(30, 400, rngs=nnx.Rngs(0)), name)[...])
    torch.manual_seed(0)
    layer = torch.nn.Linear(30, 400)
    theirs = (layer.weight if name == "kernel" else layer.bias).detach().numpy().ravel()
    assert stats.ks_2samp(ours, theirs).pvalue > 0.01
    assert stats.kstest(ours, stats.uniform(-(30**-0.5), 2 * 30**-0.5).cdf).pvalue > 0.01


def test_initial_values_of_a_bilinear_map_are_distributed_as_in_torch():
    ours = nn.Bilinear(4, 30, 50, rngs=nnx.Rngs(0))
    torch.manual_seed(0)
    theirs = torch.nn.Bilinear(4, 30, 50)
    for one, other in ((ours.kernel, theirs.weight), (ours.bias, theirs.bias)):
        assert stats.ks_2samp(np.ravel(one[...]), np.ravel(other.detach())).pvalue > 0.01


def test_kernel_is_in_by_out_and_bias_can_be_left_out():
    layer = nn.Linear(3, 5, bias=False, rngs=nnx.Rngs(0))
    assert layer.kernel.shape == (3, 5)
    assert layer.bias is None
    assert layer(jnp.ones((2, 7, 3))).shape == (2, 7, 5)


def test_kernel_and_bias_draw_from_different_keys():
    layer = nn.Linear(5, 5, rngs=nnx.Rngs(0))
    assert not np.isin(layer.bias[...], layer.kernel[...]).any()


def test_initializers_can_be_replaced():
    layer = nn.Linear(
        2, 3, kernel_init=nnx.initializers.ones, bias_init=nnx.initializers.constant(0.5), rngs=nnx.Rngs(0)
    )
    np.testing.assert_array_equal(layer(jnp.array([[1.0, 2.0]])), [[3.5, 3.5, 3.5]])


@pytest.mark.usefixtures("promotion")
def test_param_dtype_and_dtype_are_flax_s():
    layer = nn.Linear(2, 3, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert layer.kernel.dtype == jnp.bfloat16
    assert layer(jnp.ones(2)).dtype == jnp.float32
    assert nn.Linear(2, 3, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))(jnp.ones(2)).dtype == jnp.bfloat16


def test_no_input_features_give_the_bias_alone():
    layer = nn.Linear(0, 3, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(layer.bias[...], np.zeros(3))
    np.testing.assert_array_equal(layer(jnp.ones((2, 0))), np.zeros((2, 3)))


def test_layer_and_function_agree():
    layer = nn.Linear(4, 3, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (5, 4))
    np.testing.assert_array_equal(layer(x), nn.linear(x, layer.kernel[...], layer.bias[...]))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda layer: layer(jnp.ones((8, 28, 28))),
            ValueError,
            r"shape \(\.\.\., 4\), got \(8, 28, 28\); .* flattened",
        ),
        (lambda layer: layer(jnp.ones(())), ValueError, r"shape \(\.\.\., 4\), got \(\)"),
        (lambda layer: layer(jnp.ones((2, 4), int)), TypeError, r"floating-point, got int32; convert it"),
        (lambda _: nn.linear(jnp.ones(3), jnp.ones((2, 5))), ValueError, r"shape \(\.\.\., 2\), got \(3,\)"),
        (lambda _: nn.Linear(-1, 2, rngs=nnx.Rngs(0)), ValueError, "in_features must be at least 0, got -1"),
        (lambda _: nn.Linear(2, 2.5, rngs=nnx.Rngs(0)), TypeError, "out_features must be an integer, got 2.5"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(nn.Linear(4, 2, rngs=nnx.Rngs(0)))
