"""Group, instance, RMS and local response norm: values by hand, modes, dtypes, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jaxtrain import nn

X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)


def test_one_group_is_layer_norm_and_a_group_a_channel_is_instance_norm():
    @jax.jit
    def pairs(x):
        return (nn.group_norm(x, 1), nn.layer_norm(x, (3, 4))), (nn.group_norm(x, 4), nn.instance_norm(x)[0])

    for ours, expected in pairs(X):
        np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("groups", [2, 4])
def test_far_mean_costs_no_digits(groups):
    """In float32 the mean of the squares less the square of the mean would leave nothing of these variances."""
    x = (1e4 + np.random.default_rng(0).normal(size=(2, 64, 4))).astype(np.float32)
    grouped = x.astype(np.float64).reshape(2, 64, groups, -1)
    centred = grouped - grouped.mean(axis=(1, 3), keepdims=True)
    expected = (centred / np.sqrt((centred**2).mean(axis=(1, 3), keepdims=True) + 1e-5)).reshape(x.shape)
    function = (lambda x: nn.group_norm(x, groups)) if groups < 4 else (lambda x: nn.instance_norm(x)[0])
    assert np.abs(np.asarray(jax.jit(function)(x)) - expected).max() < 2e-6


@pytest.mark.parametrize("norm", [nn.batch_norm, nn.instance_norm])
def test_running_mean_of_centred_positions_is_rounded_once(norm):
    """One float32 sum over so many positions errs by ten times as much."""
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 16, 8)).astype(np.float32)
    options = {"training": True} if norm is nn.batch_norm else {}
    _, mean, _ = jax.jit(lambda x: norm(x, jnp.zeros(8), jnp.ones(8), momentum=1.0, **options))(x)
    expected = x.mean((0, 1, 2, 3), dtype=np.float64)
    # Instance norm averages the four means of the examples in float32.
    largest = np.abs(expected) if norm is nn.batch_norm else np.abs(x.mean((1, 2, 3), dtype=np.float64)).max(0)
    assert (np.abs(mean - expected) <= 2.0**-23 * largest).all()


def test_instance_norm_tracks_the_average_over_the_examples():
    layer = nn.InstanceNorm(1, momentum=0.5, track_running_stats=True)
    layer(jnp.array([[[0.0], [4.0]], [[3.0], [7.0]]]))
    np.testing.assert_allclose(layer.running_mean[...], [1.75])
    np.testing.assert_allclose(layer.running_var[...], [4.5])
    assert layer.num_batches_tracked[...] == 0
    layer.eval()
    np.testing.assert_allclose(layer(jnp.full((1, 2, 1), 1.75)), np.zeros((1, 2, 1)), atol=1e-6)


def test_instance_norm_without_statistics_is_the_same_in_both_modes():
    layer = nn.InstanceNorm(4)
    training = layer(X)
    layer.eval()
    np.testing.assert_array_equal(layer(X), training)


def test_default_epsilon_of_rms_norm_is_that_of_the_computation():
    x = jnp.array([1e-4, -1e-4])
    single = 1e-4 / np.sqrt(1e-8 + np.finfo(np.float32).eps)
    np.testing.assert_allclose(nn.rms_norm(x, 2), [single, -single], rtol=1e-6)
    half = nn.rms_norm(x.astype(jnp.bfloat16), 2)
    np.testing.assert_allclose(half.astype(float), [single, -single], rtol=1e-2)
    with jax.enable_x64(True):
        np.testing.assert_allclose(nn.rms_norm(jnp.array([1e-4, -1e-4]), 2), [1, -1], rtol=1e-7)


def test_local_response_by_hand():
    output = nn.local_response_norm(jnp.array([[[1.0, 2.0, 3.0]]]), 3, alpha=3.0, beta=1.0, k=1.0)
    np.testing.assert_allclose(output, [[[1 / 6, 2 / 15, 3 / 14]]], rtol=1e-6)


@pytest.mark.parametrize("size", [2, 4, 5, 12])
def test_local_response_of_every_window_is_that_of_torch(size):
    """An even window reaches further to the front."""
    images = np.random.default_rng(0).normal(size=(2, 7, 5)).astype(np.float32)
    expected = torch.nn.functional.local_response_norm(torch.from_numpy(images), size, alpha=2.0)
    np.testing.assert_allclose(nn.local_response_norm(images, size, alpha=2.0, axis=1), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, axis: nn.group_norm(x, 2, axis=axis),
        lambda x, axis: nn.instance_norm(x, axis=axis)[0],
        lambda x, axis: nn.local_response_norm(x, 3, alpha=1.0, axis=axis),
    ],
)
def test_axis(function):
    @jax.jit
    def both(x):
        return jnp.moveaxis(function(jnp.moveaxis(x, -1, 1), 1), 1, -1), function(x, -1)

    moved, expected = both(X)
    np.testing.assert_allclose(moved, expected, atol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: nn.group_norm(x, 2),
        lambda x: nn.instance_norm(x)[0],
        lambda x: nn.rms_norm(x, 4),
        lambda x: nn.local_response_norm(x, 3),
    ],
)
def test_half_precision_comes_back_as_it_went(function):
    output, single = jax.jit(lambda x: (function(x.astype(jnp.bfloat16)), function(x)))(X)
    assert output.dtype == jnp.bfloat16
    np.testing.assert_allclose(output.astype(np.float32), single, atol=0.03)


def test_parameters():
    assert nn.GroupNorm(2, 4).weight.shape == (4,)
    assert nn.GroupNorm(2, 4, bias=False).bias is None
    assert nn.RMSNorm((3, 4)).weight.shape == (3, 4)
    for layer in (nn.GroupNorm(2, 4, affine=False), nn.InstanceNorm(4), nn.RMSNorm(4, elementwise_affine=False)):
        assert not jax.tree.leaves(nnx.state(layer))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.GroupNorm(3, 4), ValueError, "num_groups must divide num_channels, got 3 groups and 4 channels"),
        (lambda: nn.GroupNorm(0, 4), ValueError, "num_groups must be at least 1, got 0"),
        (lambda: nn.GroupNorm(2, 6)(X), ValueError, r"expected 6 channels along axis -1, got .* \(2, 3, 4\)"),
        (lambda: nn.group_norm(X, 3), ValueError, "num_groups must divide the number of channels"),
        (lambda: nn.group_norm(X[:1, 0], 4), ValueError, "more than one value per group"),
        (lambda: nn.group_norm(X, 2, axis=0), ValueError, r"as in x\[None\]"),
        (lambda: nn.group_norm(X, 2, eps=-1.0), ValueError, r"eps must lie in \[0, inf\]"),
        (lambda: nn.instance_norm(X[:, :1]), ValueError, "more than one position"),
        (lambda: nn.instance_norm(X[:, 0]), ValueError, "more than one position"),
        (lambda: nn.instance_norm(X, use_input_stats=False), ValueError, "needs running_mean and running_var"),
        (lambda: nn.InstanceNorm(3)(X), ValueError, "expected 3 channels along axis -1"),
        (lambda: nn.RMSNorm(3)(X), ValueError, r"shape \(\.\.\., 3\), got \(2, 3, 4\)"),
        (lambda: nn.RMSNorm(3, -1.0), ValueError, r"eps must lie in \[0, inf\], got -1.0"),
        (lambda: nn.LocalResponseNorm(0), ValueError, "size must be at least 1, got 0"),
        (lambda: nn.local_response_norm(X[0], 2), ValueError, "at least three dimensions"),
        (lambda: nn.group_norm(X.astype(int), 2), TypeError, "floating-point, got int32"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


NORMS = {
    "BatchNorm": lambda **options: nn.BatchNorm(4, **options),
    "InstanceNorm": lambda **options: nn.InstanceNorm(4, affine=True, **options),
    "GroupNorm": lambda **options: nn.GroupNorm(2, 4, **options),
    "LayerNorm": lambda **options: nn.LayerNorm(4, **options),
    "RMSNorm": lambda **options: nn.RMSNorm(4, **options),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_become_linen_modules(name: str) -> None:
    """Flax passes random streams to every layer that it wraps."""
    linen = nnx.bridge.ToLinen(NORMS[name])
    x = jnp.arange(24.0).reshape(2, 3, 4)
    variables = linen.init(jax.random.key(0), x)
    output = linen.apply(variables, x, mutable=list(variables))[0]
    assert jnp.array_equal(output, NORMS[name]()(x))


@pytest.mark.parametrize("name", sorted(NORMS.keys() - {"BatchNorm"}))
def test_an_empty_batch_stays_empty(name: str) -> None:
    layer = NORMS[name]()
    assert layer(jnp.zeros((0, 3, 4))).shape == (0, 3, 4)


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_norms_under_strict_promotion(name: str, dtype: str) -> None:
    x = jnp.arange(24.0).reshape(2, 3, 4).astype(dtype)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        output = NORMS[name](param_dtype=dtype)(x)
    assert jnp.array_equal(output, NORMS[name](param_dtype=dtype)(x))
