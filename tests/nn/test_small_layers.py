"""Activations, poolings, interpolation, distances and their like: what the cases of parity do not show."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from flax import nnx

from jaxtrain import interop, nn

X = np.random.default_rng(0).normal(size=(2, 6, 4, 3)).astype(np.float32)
INDICES = np.array([0, 1, 2])
TABLE = np.ones((4, 2), np.float32)


@pytest.mark.usefixtures("promotion")
def test_functions_are_layers_of_a_sequential():
    layers = [nn.relu, partial(nn.max_pool, kernel_size=2), nn.flatten, nn.Linear(18, 2, rngs=nnx.Rngs(0))]
    model = nnx.Sequential(*layers)
    graph, state = nnx.split(model)
    assert graph == nnx.split(model)[0]
    output = jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, X)
    pooled = np.maximum(X, 0).reshape(2, 3, 2, 2, 2, 3).max((2, 4))
    expected = np.moveaxis(pooled, -1, 1).reshape(2, -1) @ layers[-1].kernel[...] + layers[-1].bias[...]
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)


def test_indices_are_places_in_the_flattened_positions():
    images = np.moveaxis(X, -1, 1).round()
    pairs: list[tuple[Any, Any, tuple[Any, ...]]] = [
        (nn.max_pool, F.max_pool2d, (3, 2, 1, 1, True, True)),
        (nn.adaptive_max_pool, F.adaptive_max_pool2d, ((4, 3), True)),
    ]
    for ours, theirs, arguments in pairs:
        expected = theirs(torch.tensor(images), *arguments)
        for mine, found in zip(ours(X.round(), *arguments), expected, strict=True):
            np.testing.assert_array_equal(np.moveaxis(np.asarray(mine), -1, 1), found.numpy())


@pytest.mark.parametrize(("stride", "padding"), [((6, 4), 0), ((7, 5), 1)])
def test_no_window_begins_right_behind_the_input(stride, padding):
    images = torch.tensor(np.moveaxis(X, -1, 1))
    pairs: list[tuple[Any, Any]] = [(nn.max_pool, F.max_pool2d), (nn.avg_pool, F.avg_pool2d)]
    for ours, theirs in pairs:
        expected = theirs(images, 2, stride, padding, ceil_mode=True).permute(0, 2, 3, 1)
        np.testing.assert_allclose(ours(X, 2, stride, padding, ceil_mode=True), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"scale_factor": 0.45, "mode": "bilinear", "recompute_scale_factor": True},
        {"size": 1, "mode": "bicubic", "antialias": True, "align_corners": True},
        {"size": (74, 5)},  # 37 · 6/74 is rounded in float32.
    ],
)
def test_places_between_the_elements_are_pytorchs(options):
    expected = F.interpolate(torch.tensor(np.moveaxis(X, -1, 1)), **options).permute(0, 2, 3, 1)
    np.testing.assert_allclose(nn.interpolate(X, **options), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("place", range(6))
def test_the_largest_of_a_window_with_a_nan_is_nan(place):
    signal = np.array([3.0, 1.0, 2.0, 5.0, 4.0, 0.0], np.float32)
    signal[place] = np.nan
    theirs = torch.from_numpy(signal)[None, None]
    for ours, expected in (
        (
            nn.max_pool(signal[None, :, None], 3, 1, 1, return_indices=True),
            F.max_pool1d(theirs, 3, 1, 1, 1, False, True),
        ),
        (nn.adaptive_max_pool(signal[None, :, None], 4, True), F.adaptive_max_pool1d(theirs, 4, True)),
    ):
        for one, other in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(np.ravel(one), np.ravel(other))


@pytest.mark.parametrize(
    "function", [nn.normalize, nn.softmax, nn.log_softmax, partial(nn.cosine_similarity, X[0] + 1)]
)
def test_the_first_axis_is_an_axis(function):
    moved = function(X[0], axis=0)
    others = partial(nn.cosine_similarity, np.moveaxis(X[0] + 1, 0, -1)) if isinstance(function, partial) else function
    expected = others(np.moveaxis(X[0], 0, -1))
    np.testing.assert_allclose(moved, expected if expected.ndim == 2 else np.moveaxis(expected, -1, 0), rtol=1e-5)


@pytest.mark.parametrize("name", ["softmax", "softmin", "log_softmax"])
def test_a_softmax_in_another_dtype_rounds_its_input_first(name):
    x = np.random.default_rng(0).normal(size=(4, 50)).astype(np.float32)
    expected = getattr(nn, name)(jnp.asarray(x, jnp.bfloat16))
    np.testing.assert_array_equal(getattr(nn, name)(x, dtype=jnp.bfloat16), expected)


def test_windows_of_zeros_have_the_derivative_zero():
    gradient = jax.grad(lambda x: nn.lp_pool(x, 2, 2).sum())(jnp.zeros((1, 4, 1)))
    np.testing.assert_array_equal(gradient, 0)


def test_the_first_axes_are_flattened_in_pytorchs_order():
    expected = torch.tensor(np.moveaxis(X, -1, 1)).flatten(0, 1)
    np.testing.assert_array_equal(nn.flatten(X, 0, 1), expected)


def test_padding_counted_from_the_end_of_the_table():
    bags, table = np.array([[0, 3], [3, 3]]), np.arange(8, dtype=np.float32).reshape(4, 2)
    expected = F.embedding_bag(torch.tensor(bags), torch.tensor(table), padding_idx=-1)
    np.testing.assert_array_equal(nn.embedding_bag(bags, table, padding_idx=-1), expected)


def test_scaled_gradients_are_divided_by_the_look_ups_of_their_own_row():
    gradient = jax.grad(
        lambda table: nn.embedding_bag(jnp.array([[0, 0, 1]]), table, mode="sum", scale_grad_by_freq=True).sum()
    )(TABLE)
    np.testing.assert_array_equal(gradient, [[1, 1], [1, 1], [0, 0], [0, 0]])


def test_an_index_out_of_range_is_nan_in_its_bag_alone():
    for mode in ("sum", "mean", "max"):
        output = nn.embedding_bag(jnp.array([[0, 9], [1, 2]]), TABLE, mode=mode)
        assert np.isnan(output).tolist() == [[True, True], [False, False]]


def test_random_slopes_lie_between_their_limits():
    slopes = nn.rrelu(-jnp.ones(1000), 0.2, 0.4, True, key=jax.random.key(0)) * -1
    assert 0.2 <= slopes.min() < 0.21
    assert 0.39 < slopes.max() <= 0.4


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (nn.PReLU(3, 0.1), torch.nn.PReLU(3)),
        (nn.Bilinear(2, 3, 4, rngs=nnx.Rngs(0)), torch.nn.Bilinear(2, 3, 4)),
        (nn.EmbeddingBag(5, 2, rngs=nnx.Rngs(0)), torch.nn.EmbeddingBag(5, 2)),
    ],
)
def test_weights_of_torch_are_loaded(ours, theirs):
    state_dict = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    interop.load_state_dict(ours, state_dict)
    arrays = [np.random.default_rng(0).normal(size=(2, size)).astype(np.float32) for size in (2, 3)]
    arguments = {"PReLU": arrays[1:], "Bilinear": arrays, "EmbeddingBag": [INDICES[None]]}[type(ours).__name__]
    expected = theirs(*map(torch.tensor, arguments)).detach().numpy()
    np.testing.assert_allclose(ours(*arguments), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.relu(jnp.ones(2, int)), TypeError, "relu: input must be floating-point, got int32"),
        (lambda: nn.hardtanh(X, 1.0, -1.0), ValueError, r"hardtanh: max_val must lie in \[1, inf\]"),
        (lambda: nn.celu(X, 0.0), ValueError, "celu: alpha must not be 0"),
        (lambda: nn.softplus(X, 0.0), ValueError, "softplus: beta must not be 0"),
        (lambda: nn.softshrink(X, -1.0), ValueError, "softshrink: lambd must lie in"),
        (lambda: nn.gelu(X, "erf"), ValueError, "gelu: approximate must be one of 'none', 'tanh', got 'erf'"),
        (lambda: nn.glu(X), ValueError, "glu: the size along axis 3 must be even"),
        (lambda: nn.softmax(X, axis=4), ValueError, "softmax: axis 4 does not exist"),
        (lambda: nn.softmax(X, dtype=int), TypeError, "softmax: dtype must be floating-point"),
        (lambda: nn.rrelu(X, training=True), ValueError, "rrelu: training draws slopes and needs a key"),
        (lambda: nn.PReLU(2)(X), ValueError, "one for each of the 3 channels along axis 3, got 2"),
        (lambda: nn.max_pool(X[0, 0], 2), ValueError, r"max_pool: .* batch axis, as in x\[None\]"),
        (lambda: nn.avg_pool(X[:, :0], 2, padding=1), ValueError, "avg_pool: expected positions and channels to pool"),
        (lambda: nn.lp_pool(X[..., :0], 2.0, 2), ValueError, "lp_pool: expected positions and channels to pool"),
        (lambda: nn.max_pool(X, 5), ValueError, "max_pool: a window of 5 positions is too large"),
        (lambda: nn.max_pool(X, 3, padding=2), ValueError, "padding must be at most half of the window, got 2"),
        (lambda: nn.max_pool(X, (2, 2, 2)), ValueError, "one for each of the 2 axes"),
        (lambda: nn.avg_pool(X, 2, divisor_override=0), ValueError, "avg_pool: divisor_override must not be 0"),
        (lambda: nn.lp_pool(X, 0, 2), ValueError, "lp_pool: norm_type must not be 0"),
        (lambda: nn.adaptive_avg_pool(X, 0), ValueError, "adaptive_avg_pool: output_size must be at least 1"),
        (lambda: nn.adaptive_max_pool(X, (1, 1, 1)), ValueError, "one for each of the 2 axes of positions"),
        (lambda: nn.interpolate(X), ValueError, "interpolate: expected either size or scale_factor"),
        (lambda: nn.interpolate(X, 2, mode="linear"), ValueError, "mode 'linear' needs 1 axes of positions"),
        (lambda: nn.interpolate(X, 2, align_corners=True), ValueError, "align_corners does not apply"),
        (lambda: nn.interpolate(X, 2, antialias=True), ValueError, "antialias is for modes bilinear"),
        (lambda: nn.interpolate(X, scale_factor=0.0), ValueError, "scale_factor must lie in"),
        (lambda: nn.cdist(X, X[..., :2]), ValueError, "cdist: expected arrays of shape"),
        (lambda: nn.pairwise_distance(X, X[:, :5]), ValueError, "pairwise_distance: expected arrays that broadcast"),
        (lambda: nn.pixel_shuffle(X, 2), ValueError, "the 3 channels along axis 3 must be a multiple"),
        (lambda: nn.pixel_unshuffle(X, 4), ValueError, "downscale_factor must divide rows and columns, got 4"),
        (lambda: nn.channel_shuffle(X, 2), ValueError, "groups must divide the number of channels"),
        (lambda: nn.flatten(X, 2, 1), ValueError, "end_dim must not come before start_dim, got 2 and 1"),
        (lambda: nn.unflatten(X, 1, (2, 2)), ValueError, "must multiply to the 3 elements along dim 1"),
        (lambda: nn.bilinear(X, X, jnp.ones((3, 2, 1))), ValueError, "bilinear: expected inputs of shape"),
        (lambda: nn.embedding_bag(INDICES, TABLE), ValueError, "without offsets"),
        (lambda: nn.embedding_bag(INDICES[None], TABLE, per_sample_weights=X), ValueError, "are for mode 'sum'"),
        (lambda: nn.EmbeddingBag(4, 2, scale_grad_by_freq=True, mode="max", rngs=nnx.Rngs(0)), ValueError, "'sum'"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_difference_that_is_not_a_number_makes_the_number_of_differences_nan():
    x, y = np.array([[np.nan, 1.0], [0.0, 2.0]], np.float32), np.array([[0.0, 1.0], [np.inf, 2.0]], np.float32)
    expected = torch.cdist(torch.tensor(x), torch.tensor(y), p=0)
    np.testing.assert_array_equal(nn.cdist(x, y, 0), expected)
