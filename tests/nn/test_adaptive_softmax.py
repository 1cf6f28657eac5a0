"""`nn.AdaptiveLogSoftmaxWithLoss`: probabilities, sizes, classes out of range, dtypes, transformations, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxtrain import nn

X = np.random.default_rng(0).normal(size=(6, 16)).astype(np.float32)
# One class of the shortlist, of each end of each cluster, and the last.
TARGET = np.array([0, 4, 5, 11, 12, 19])


def made(**options):
    return nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 12], div_value=2.0, rngs=nnx.Rngs(0), **options)


@pytest.fixture(scope="module")
def layer():
    return made(head_bias=True)


def test_sizes_of_the_clusters(layer):
    assert layer.head.kernel.shape == (16, 7)
    assert layer.head.bias.shape == (7,)
    assert [[linear.kernel.shape for linear in cluster] for cluster in layer.tail] == [
        [(16, 8), (8, 7)],
        [(16, 4), (4, 8)],
    ]
    assert all(linear.bias is None for cluster in layer.tail for linear in cluster)
    assert made().head.bias is None


def test_initial_values_lie_within_the_bounds_of_their_linear_maps(layer):
    for linear in (layer.head, *layer.tail[0], *layer.tail[1]):
        bound = linear.kernel.shape[0] ** -0.5
        assert 0.8 * bound < np.abs(linear.kernel[...]).max() <= np.float32(bound)


def test_output_is_the_log_probability_of_the_target(layer):
    @nnx.jit
    def all_of_it(layer, x):
        return layer(x, TARGET), layer.log_prob(x), layer.predict(x)

    (output, loss), log_prob, favourite = all_of_it(layer, X)
    assert log_prob.shape == (6, 20)
    np.testing.assert_allclose(np.exp(log_prob).sum(-1), np.ones(6), rtol=1e-5)
    np.testing.assert_allclose(output, log_prob[np.arange(6), TARGET], rtol=1e-6)
    np.testing.assert_allclose(loss, -np.mean(output), rtol=1e-6)
    np.testing.assert_array_equal(favourite, np.argmax(log_prob, -1))


def test_classes_in_a_narrow_dtype_are_those_of_int32():
    layer = nn.AdaptiveLogSoftmaxWithLoss(16, 1000, [300, 600], rngs=nnx.Rngs(0))
    # uint8 does not hold the 302 entries of the head, nor int8 the cutoffs.
    targets = np.array([0, 4, 5, 127, 12, 19])

    @nnx.jit
    def loss_and_gradient(layer, targets):
        return jax.value_and_grad(lambda x: layer(x, targets).loss)(X)

    expected = loss_and_gradient(layer, targets.astype(np.int32))
    for dtype in (np.int8, np.uint8):
        jax.tree.map(np.testing.assert_array_equal, loss_and_gradient(layer, targets.astype(dtype)), expected)


def test_classes_out_of_range_are_nan_in_value_and_gradient(layer):
    targets = jnp.array([-1, 20, 3, -2, 25, 0])

    @nnx.jit
    def outputs(layer, x):
        return layer(x, targets), jax.grad(lambda x: layer(x, targets).loss)(x)

    (output, loss), gradient = outputs(layer, X)
    assert np.isnan(output).tolist() == [True, True, False, True, True, False]
    assert np.isnan(loss)
    assert np.isnan(gradient).all(-1).tolist() == [True, True, False, True, True, False]


def test_vmap_and_a_single_example(layer):
    one_by_one, together = jax.jit(lambda x: (jax.vmap(layer)(x, TARGET), layer(x, TARGET)))(X)
    np.testing.assert_allclose(one_by_one.output, together.output, rtol=1e-5)
    np.testing.assert_allclose(one_by_one.loss, -together.output, rtol=1e-5)


@pytest.mark.usefixtures("promotion")
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtype_of_the_input_comes_back(layer, dtype):
    output, loss = jax.eval_shape(layer, jax.ShapeDtypeStruct(X.shape, dtype), TARGET)
    assert (output.dtype, loss.dtype) == (dtype, dtype)
    assert (output.shape, loss.shape) == ((6,), ())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 20, [5]), ValueError, "in_features must be at least 1, got 0"),
        ((16, 1, [1]), ValueError, "n_classes must be at least 2, got 1"),
        ((16, 20, []), ValueError, r"cutoffs must be increasing, at least one, got \[\]"),
        ((16, 20, [12, 5]), ValueError, r"cutoffs must be increasing, at least one, got \[12, 5\]"),
        ((16, 20, [5, 5]), ValueError, "cutoffs must be increasing"),
        ((16, 20, [0]), ValueError, "cutoffs must be from 1 to 19, got 0"),
        ((16, 20, [20]), ValueError, "cutoffs must be from 1 to 19, got 20"),
        ((16, 20, [2.5]), TypeError, "cutoffs must be an integer, got 2.5"),
        ((16, 20, [5], 0.0), ValueError, r"div_value must lie in \(0, inf\], got 0.0"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=f"AdaptiveLogSoftmaxWithLoss: {message}"):
        nn.AdaptiveLogSoftmaxWithLoss(*arguments, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("input", "target", "error", "message"),
    [
        (X[:, :5], TARGET, ValueError, r"an input of shape \(batch, 16\) .*, got \(6, 5\) and \(6,\)"),
        (X, TARGET[:5], ValueError, r"got \(6, 16\) and \(5,\)"),
        (X[None], TARGET[None], ValueError, r"got \(1, 6, 16\) and \(1, 6\)"),
        (X, TARGET.astype(np.float32), TypeError, "target must hold classes as integers, got float32"),
        (X.astype(np.int32), TARGET, TypeError, "input must be floating-point, got int32"),
    ],
    ids=["features", "batch", "axes", "target", "integers"],
)
def test_bad_input_is_refused(layer, input, target, error, message):
    with pytest.raises(error, match=f"AdaptiveLogSoftmaxWithLoss: .*{message}|AdaptiveLogSoftmaxWithLoss: {message}"):
        layer(input, target)
