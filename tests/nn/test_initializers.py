"""`nn.initializers`: the distributions of `torch.nn.init`, in our layout of kernels."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy import stats

from jaxtrain import nn

init = nn.initializers
KEY = jax.random.key(0)
MATRIX, IMAGES = (40, 60), (3, 3, 32, 64)


def torch_layout(shape):
    """From (..., in, out) to (out, in, ...)."""
    return (shape[-1], shape[-2], *shape[:-2])


def torch_values(function, shape, **options):
    torch.manual_seed(0)
    return function(torch.empty(torch_layout(shape)), **options).numpy()


RANDOM = [
    ("uniform", {"a": -1.0, "b": 3.0}),
    ("normal", {"mean": 2.0, "std": 0.5}),
    ("trunc_normal", {}),
    ("trunc_normal", {"mean": 1.0, "std": 2.0, "a": 0.5, "b": 4.0}),
    ("trunc_normal", {"a": 3.0, "b": 5.0}),
    ("xavier_uniform", {"gain": 2.0}),
    ("xavier_normal", {}),
    ("kaiming_uniform", {"a": math.sqrt(5)}),
    ("kaiming_uniform", {"mode": "fan_out", "nonlinearity": "tanh"}),
    ("kaiming_normal", {"nonlinearity": "relu"}),
    ("kaiming_normal", {"a": 0.2, "mode": "fan_out"}),
]
FIXED = [
    ("constant", {"val": 0.3}, MATRIX),
    ("ones", {}, IMAGES),
    ("zeros", {}, MATRIX),
    ("eye", {}, (3, 5)),
    ("eye", {}, (5, 3)),
    ("dirac", {}, (3, 2, 4)),
    ("dirac", {"groups": 2}, (2, 3, 3, 4)),
    ("dirac", {"groups": 3}, (3, 3, 2, 2, 6)),
]


@pytest.fixture(scope="module")
def ours():
    """What every initializer gives, from one program."""
    cases = [(*case, IMAGES) for case in RANDOM] + FIXED

    @jax.jit
    def all_of_them(key):
        return [getattr(init, name)(**options)(key, shape) for name, options, shape in cases]

    return {str(case): np.asarray(values) for case, values in zip(cases, all_of_them(KEY), strict=True)}


@pytest.mark.parametrize(("name", "options"), RANDOM)
def test_random_values_are_distributed_as_in_torch(name, options, ours):
    values = ours[str((name, options, IMAGES))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of a truncated normal far from its mean.
        theirs = torch_values(getattr(torch.nn.init, f"{name}_"), IMAGES, **options)
    assert values.shape == IMAGES
    assert stats.ks_2samp(values.ravel(), theirs.ravel()).pvalue > 0.01


@pytest.mark.parametrize(("name", "options", "shape"), FIXED)
def test_fixed_values_are_torch_s(name, options, shape, ours):
    theirs = np.moveaxis(torch_values(getattr(torch.nn.init, f"{name}_"), shape, **options), (1, 0), (-2, -1))
    np.testing.assert_array_equal(ours[str((name, options, shape))], theirs)


@pytest.mark.parametrize("shape", [(4, 3), (2, 1, 5)])
def test_orthogonal_matrices_are_orthogonal_and_even(shape):
    """Even over all orthogonal matrices: each element is distributed as PyTorch's, on and off the diagonal."""
    draws = np.asarray(jax.jit(jax.vmap(lambda key: init.orthogonal(1.5)(key, shape)))(jax.random.split(KEY, 500)))
    matrices = draws.reshape(500, -1, shape[-1])
    grams = np.einsum("nij,nik->njk" if matrices.shape[1] >= shape[-1] else "nij,nkj->nik", matrices, matrices)
    np.testing.assert_allclose(grams, np.broadcast_to(2.25 * np.eye(grams.shape[-1]), grams.shape), atol=1e-5)
    torch.manual_seed(0)
    theirs = [torch.nn.init.orthogonal_(torch.empty(torch_layout(shape)), 1.5).flatten(1).T for _ in range(500)]
    for row, column in ((0, 0), (1, 2)):
        assert stats.ks_2samp(matrices[:, row, column], [matrix[row, column] for matrix in theirs]).pvalue > 0.01


def test_sparse_rows_have_torch_s_number_of_zeros():
    ours = np.asarray(jax.jit(lambda: init.sparse(0.34, 0.5)(KEY, MATRIX))())
    theirs = torch_values(torch.nn.init.sparse_, MATRIX, sparsity=0.34, std=0.5)
    assert set((ours == 0).sum(1)) == set((theirs == 0).sum(0)) == {21}
    assert len({row.tobytes() for row in ours == 0}) == 40
    assert stats.ks_2samp(ours[ours != 0], theirs[theirs != 0]).pvalue > 0.01


@pytest.mark.parametrize(
    ("nonlinearity", "param"),
    [("linear", None), ("conv3d", None), ("sigmoid", None), ("tanh", None), ("relu", None), ("selu", None)]
    + [("leaky_relu", param) for param in (None, 0, 0.2, math.sqrt(5))],
)
def test_gains_are_torch_s(nonlinearity, param):
    assert init.calculate_gain(nonlinearity, param) == torch.nn.init.calculate_gain(nonlinearity, param)


def test_far_tail_of_the_truncated_normal():
    values = np.asarray(jax.jit(lambda: init.trunc_normal(a=8.0, b=9.0)(KEY, (2000,)))(), np.float64)
    assert values.min() >= 8.0
    assert values.max() <= 9.0
    assert stats.kstest(values, stats.truncnorm(8.0, 9.0).cdf).pvalue > 0.01


@pytest.mark.parametrize("make", [init.xavier_normal, init.orthogonal, init.zeros])
def test_dtypes(make):
    assert jax.eval_shape(lambda: make()(KEY, (3, 3))).dtype == jnp.float32
    assert jax.eval_shape(lambda: make()(KEY, (3, 3), jnp.float16)).dtype == jnp.float16
    with jax.enable_x64(True):
        assert jax.eval_shape(lambda: make()(KEY, (3, 3))).dtype == np.float64


@pytest.mark.parametrize("make", [init.kaiming_normal, init.xavier_uniform, init.orthogonal])
def test_empty_kernels_are_empty(make):
    assert jax.eval_shape(lambda: make()(KEY, (0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: init.uniform(1.0, 0.0), ValueError, r"b must lie in \[1, inf\], got 0.0"),
        (lambda: init.normal(std=-1.0), ValueError, r"std must lie in \[0, inf\], got -1.0"),
        (lambda: init.trunc_normal(a=1.0, b=1.0), ValueError, r"b must lie in \(1, inf\], got 1.0"),
        (lambda: init.sparse(1.5), ValueError, r"sparsity must lie in \[0, 1\], got 1.5"),
        (lambda: init.sparse(0.5)(KEY, (3,)), ValueError, r"sparse: expected a shape .*, got \(3,\)"),
        (lambda: init.eye()(KEY, (3,)), ValueError, r"eye: expected a shape .*, got \(3,\)"),
        (lambda: init.dirac()(KEY, (3, 3)), ValueError, "dirac: expected a shape of three, four or five axes"),
        (lambda: init.dirac(2)(KEY, (3, 3, 3)), ValueError, "groups must divide the output channels"),
        (lambda: init.orthogonal()(KEY, (3,)), ValueError, "orthogonal: expected a shape of at least two axes"),
        (lambda: init.xavier_uniform()(KEY, (3,)), ValueError, "at least two axes"),
        (lambda: init.kaiming_normal(mode="fan"), ValueError, "mode must be one of 'fan_in', 'fan_out', got 'fan'"),
        (lambda: init.calculate_gain("gelu"), ValueError, "nonlinearity must be one of"),
        (lambda: init.calculate_gain("leaky_relu", True), ValueError, "slope of leaky_relu must be a number"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
