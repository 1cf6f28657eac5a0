"""`nn.BatchNorm`: statistics worked out by hand, modes, precision, sharding, bad input."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxtrain import nn

X = jnp.array([[1.0, 10.0], [3.0, 14.0], [5.0, 12.0], [7.0, 20.0]])
MEAN, BIASED, UNBIASED = np.array([4.0, 14.0]), np.array([5.0, 14.0]), np.array([20 / 3, 56 / 3])


def test_normalizes_by_the_biased_and_tracks_the_unbiased_variance():
    layer = nn.BatchNorm(2)
    np.testing.assert_allclose(layer(X), (np.asarray(X) - MEAN) / np.sqrt(BIASED + 1e-5), rtol=1e-6)
    np.testing.assert_allclose(layer.running_mean[...], 0.1 * MEAN, rtol=1e-6)
    np.testing.assert_allclose(layer.running_var[...], 0.9 + 0.1 * UNBIASED, rtol=1e-6)
    assert layer.num_batches_tracked[...] == 1


def test_momentum_none_is_the_mean_over_all_batches():
    layer = nn.BatchNorm(2, momentum=None)
    for shift in (0.0, 3.0, 6.0):
        layer(X + shift)
    np.testing.assert_allclose(layer.running_mean[...], MEAN + 3, rtol=1e-6)
    np.testing.assert_allclose(layer.running_var[...], UNBIASED, rtol=1e-5)


@pytest.mark.parametrize("layer", [nn.BatchNorm])
def test_reset_running_stats_forgets_all_batches(layer):
    made, fresh = layer(2, param_dtype=jnp.bfloat16), layer(2, param_dtype=jnp.bfloat16)
    made(X[None])
    assert made.running_mean[...].any()
    made.reset_running_stats()
    for got, expected in zip(*(jax.tree.leaves(nnx.state(one, nnx.BatchStat)) for one in (made, fresh)), strict=True):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype


def test_without_statistics_there_is_nothing_to_reset():
    layer = nn.BatchNorm(2, track_running_stats=False)
    layer.reset_running_stats()
    assert layer.running_mean is None


def test_evaluation_uses_and_keeps_the_running_statistics():
    layer = nn.BatchNorm(2)
    layer(X)
    layer.eval()
    before = jax.tree.leaves(nnx.state(layer, nnx.BatchStat))
    expected = (np.asarray(X) - 0.1 * MEAN) / np.sqrt(0.9 + 0.1 * UNBIASED + 1e-5)
    np.testing.assert_allclose(layer(X), expected, rtol=1e-6)
    np.testing.assert_array_equal(jax.tree.leaves(nnx.state(layer, nnx.BatchStat))[1], before[1])
    np.testing.assert_allclose(layer(X, use_running_average=False).mean(0), np.zeros(2), atol=1e-6)


def test_without_running_statistics_evaluation_uses_the_batch():
    layer = nn.BatchNorm(2, track_running_stats=False)
    training = layer(X)
    layer.eval()
    np.testing.assert_array_equal(layer(X), training)
    assert not jax.tree.leaves(nnx.state(layer, nnx.BatchStat))


def test_parameters():
    assert nnx.to_pure_dict(nnx.state(nn.BatchNorm(2), nnx.Param)).keys() == {"weight", "bias"}
    assert nnx.to_pure_dict(nnx.state(nn.BatchNorm(2, bias=False), nnx.Param)).keys() == {"weight"}
    assert not jax.tree.leaves(nnx.state(nn.BatchNorm(2, affine=False), nnx.Param))


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e5])
def test_far_mean_costs_no_digits(mean):
    x = mean + 2 * np.random.default_rng(0).normal(size=(256, 3))
    x = x.astype(np.float32)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-5)
    assert np.abs(nn.batch_norm(jnp.asarray(x), None, None, training=True)[0] - expected).max() < 2e-6


@pytest.mark.parametrize(("mean", "limit"), [(0.0, 2e-9), (1e3, 3.1e-5)])
def test_the_running_mean_is_as_good_as_its_rounding(mean, limit):
    """A correction of the first mean must help where it is large, and not harm where it is small."""
    x = (mean + np.random.default_rng(0).normal(size=(32, 16, 16, 8))).astype(np.float32)
    tracked = nn.batch_norm(jnp.asarray(x), jnp.zeros(8), jnp.ones(8), training=True, momentum=1.0)[1]
    error = np.asarray(tracked, np.float64) - x.mean((0, 1, 2), dtype=np.float64)
    assert np.sqrt(np.mean(error**2)) <= limit


def test_statistics_carry_no_gradient_and_output_does():
    def of_output(x):
        return nn.batch_norm(x, jnp.zeros(2), jnp.ones(2), training=True)[0][0].sum()

    def of_statistics(x):
        _, mean, var = nn.batch_norm(x, jnp.zeros(2), jnp.ones(2), training=True)
        return (mean + var).sum()

    assert jnp.abs(jax.grad(of_output)(X)).max() > 0.1
    np.testing.assert_array_equal(jax.grad(of_statistics)(X), np.zeros_like(X))


def test_derivatives_of_all_orders_agree_with_autodiff():
    def textbook(x):
        return (x - x.mean(0, keepdims=True)) / jnp.sqrt(x.var(0, keepdims=True) + 1e-5)

    def ours(x):
        return nn.batch_norm(x, None, None, training=True)[0]

    def derivatives(function, x):
        return [derivative(function)(x) for derivative in (jax.jacfwd, jax.jacrev, jax.hessian)]

    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2)))
        both = jax.jit(lambda x: (derivatives(ours, x), derivatives(textbook, x)))(x)
        for mine, autodiff in zip(*both, strict=True):
            np.testing.assert_allclose(mine, autodiff, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_normalized_in_float32(dtype):
    x = (1000 + 64 * X).astype(dtype)
    output, mean, var = nn.batch_norm(x, jnp.zeros(2, dtype), jnp.ones(2, dtype), training=True, momentum=1.0)
    assert output.dtype == mean.dtype == var.dtype == dtype
    wide = np.asarray(x, np.float64)
    np.testing.assert_array_equal(mean, wide.mean(0).astype(dtype))
    np.testing.assert_allclose(
        output.astype(float), (wide - wide.mean(0)) / wide.std(0), atol=float(jnp.finfo(dtype).eps)
    )


def test_param_dtype_is_that_of_parameters_and_statistics():
    layer = nn.BatchNorm(2, param_dtype=jnp.bfloat16)
    assert layer(X).dtype == jnp.float32
    assert layer.weight.dtype == layer.running_mean.dtype == layer.running_var.dtype == jnp.bfloat16
    assert layer.num_batches_tracked.dtype == jnp.int32


def test_axis():
    images, channels = jax.random.normal(jax.random.key(0), (2, 3, 4, 5)), jnp.arange(5.0)
    normalize = jax.jit(partial(nn.batch_norm, training=True), static_argnames="axis")
    last = normalize(images, None, None, channels, channels)[0]
    second = normalize(np.moveaxis(images, -1, 1), None, None, channels, channels, axis=1)[0]
    np.testing.assert_allclose(np.moveaxis(second, 1, -1), last, atol=1e-6)


@pytest.fixture(scope="module")
def mesh():
    return Mesh(np.array(jax.devices()), ("data",))


def trained(layer, x):
    """The output and the gradient of the weight and the input, under `jit`."""
    graph, params, rest = nnx.split(layer, nnx.Param, ...)

    @jax.jit
    def run(params, rest, x):
        def loss(params, x):
            model = nnx.merge(graph, params, rest, copy=True)
            output = model(x)
            return jnp.sum(jnp.sin(output) * jnp.arange(float(output.size)).reshape(output.shape)), (
                output,
                nnx.state(model, nnx.BatchStat),
            )

        gradients, results = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)
        return results, gradients

    return run(params, rest, x)


def test_sharded_batch_has_the_statistics_of_the_whole_batch(mesh):
    x = jax.random.normal(jax.random.key(0), (32, 3)) * jnp.arange(1.0, 33)[:, None]
    alone = trained(nn.BatchNorm(3), x)
    sharded = trained(nn.BatchNorm(3), jax.device_put(x, NamedSharding(mesh, PartitionSpec("data"))))
    assert len(sharded[0][0].sharding.device_set) == 8
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(sharded), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(a).max())


def test_axis_name_shares_statistics_under_shard_map_and_vmap(mesh):
    x = jax.random.normal(jax.random.key(0), (8, 3)) * np.arange(1.0, 9)[:, None]
    normalize = partial(nn.batch_norm, running_mean=jnp.zeros(3), running_var=jnp.ones(3), training=True)
    spread, same = PartitionSpec("data"), PartitionSpec()
    shared = jax.shard_map(
        partial(normalize, axis_name="data"), mesh=mesh, in_specs=spread, out_specs=(spread, same, same)
    )
    mapped = jax.vmap(partial(normalize, axis_name="batch"), axis_name="batch", out_axes=(0, None, None))

    @partial(jax.jit, static_argnums=0)
    def run(function, x):
        def loss(x):
            output, mean, var = function(x)
            return jnp.sum(jnp.sin(output).ravel() * jnp.arange(24.0)), (output.reshape(8, 3), mean, var)

        gradient, results = jax.grad(loss, has_aux=True)(x)
        return *results, gradient.reshape(8, 3)

    expected = run(normalize, x)
    for got in (run(shared, x), run(mapped, x.reshape(4, 2, 3))):
        for mine, alone in zip(got, expected, strict=True):
            np.testing.assert_allclose(mine, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.BatchNorm(2)(X[:1]), ValueError, r"at least two values per channel, got 1 .* model.eval\(\)"),
        (lambda: jax.jit(nn.BatchNorm(2))(X[:1]), ValueError, r"at least two values per channel, got 1"),
        (lambda: nn.BatchNorm(3)(X), ValueError, r"expected 3 channels along axis -1, got an input of shape \(4, 2\)"),
        (lambda: nn.BatchNorm(2)(X[0]), ValueError, r"at least two dimensions, got shape \(2,\)"),
        (lambda: nn.BatchNorm(2, axis=2)(X), ValueError, r"axis 2 does not exist in an input of shape \(4, 2\)"),
        (lambda: nn.BatchNorm(2)(X.astype(int)), TypeError, "floating-point, got int32"),
        (lambda: nn.BatchNorm(0), ValueError, "num_features must be at least 1, got 0"),
        (lambda: nn.BatchNorm(2, eps=-1e-5), ValueError, r"eps must lie in \[0, inf\], got -1e-05"),
        (lambda: nn.BatchNorm(2, eps=0.0)(X), ValueError, r"eps must lie in \(0, inf\], got 0.0"),
        (
            lambda: nn.batch_norm(X, None, None),
            ValueError,
            "needs running_mean and running_var; pass both, or training",
        ),
        (
            lambda: nn.batch_norm(X, jnp.zeros(3), jnp.ones(3)),
            ValueError,
            r"running_mean has shape \(3,\), but axis 1 .* holds 2 channels",
        ),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("empty", [X[:0], X[None, :0]])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_an_empty_batch_leaves_the_statistics_as_they_are(empty, momentum):
    layer = nn.BatchNorm(2, momentum=momentum)
    theirs = torch.nn.BatchNorm1d(2, momentum=momentum)
    theirs(torch.tensor(np.moveaxis(empty, -1, 1)))
    layer(empty)
    assert layer(empty).shape == empty.shape
    np.testing.assert_array_equal(layer.running_mean[...], theirs.running_mean.numpy())
    np.testing.assert_array_equal(layer.running_var[...], theirs.running_var.numpy())
    gradients = nnx.grad(lambda layer: layer(empty).sum())(layer)
    assert not any(gradient.any() for gradient in jax.tree.leaves(gradients))


def test_one_example_is_fine_in_evaluation_and_where_it_has_many_positions():
    layer = nn.BatchNorm(2)
    assert layer(X[None]).shape == (1, 4, 2)
    layer.eval()
    assert layer(X[:1]).shape == (1, 2)


def test_refused_batch_leaves_the_layer_as_it_was():
    layer = nn.BatchNorm(2)
    with pytest.raises(ValueError, match="at least two"):
        layer(X[:1])
    assert layer.num_batches_tracked[...] == 0


def test_view_info_explains_the_mode():
    assert "use_running_average: bool | None = None\n    True to normalize" in nnx.view_info(nn.BatchNorm(2))
    assert nnx.view(nn.BatchNorm(2), use_running_average=True).use_running_average
