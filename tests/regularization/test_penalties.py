"""Penalties: values worked out by hand, masks, modules, gradients, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxtrain import nn, regularization

PARAMS = {"dense": {"kernel": jnp.array([[1.0, -2.0], [0.0, 3.0]]), "bias": jnp.array([10.0, -10.0])}}


def test_by_hand():
    assert regularization.l1_penalty(PARAMS, 0.5) == 13.0
    assert regularization.l2_penalty(PARAMS, 0.5) == 53.5
    assert regularization.elastic_net_penalty(PARAMS, 1.0, 0.25) == 0.25 * 26 + 0.75 * 107


@pytest.mark.parametrize(
    "mask",
    [
        regularization.decay_mask,
        {"dense": {"kernel": True, "bias": False}},
        lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
    ],
)
def test_masks(mask):
    assert regularization.l1_penalty(PARAMS, 1.0, mask=mask) == 6.0
    assert regularization.l2_penalty(PARAMS, 1.0, mask=mask) == 7.0
    assert regularization.elastic_net_penalty(PARAMS, 1.0, mask=mask) == 6.5


def test_mask_may_be_a_prefix_of_the_tree():
    assert (
        regularization.l1_penalty(PARAMS | {"head": jnp.array([7.0])}, 1.0, mask={"dense": False, "head": True}) == 7.0
    )


def test_gradients():
    gradients = jax.grad(regularization.l1_penalty)(PARAMS, 0.1)["dense"]
    np.testing.assert_array_equal(gradients["kernel"], np.float32([[0.1, -0.1], [0.0, 0.1]]))
    gradients = jax.grad(regularization.l2_penalty)(PARAMS, 0.1)["dense"]
    np.testing.assert_allclose(gradients["bias"], [1.0, -1.0], rtol=1e-7)
    gradients = jax.grad(regularization.l2_penalty)(PARAMS, 0.1, mask=regularization.decay_mask)["dense"]
    np.testing.assert_array_equal(gradients["bias"], [0.0, 0.0])


def test_of_a_module_only_parameters_count():
    model = nnx.Sequential(nn.BatchNorm(3), nn.Dropout(0.5, rngs=nnx.Rngs(0)))
    assert regularization.l1_penalty(model, 1.0) == 3.0
    assert regularization.l1_penalty(nnx.state(model, nnx.Param), 1.0) == 3.0
    assert regularization.l1_penalty(model, 1.0, mask=regularization.decay_mask) == 0.0


def test_a_mask_that_is_a_function_sees_the_parameters_only():
    seen = []

    def mask(params):
        seen.extend(jax.tree.leaves(params))
        return True

    assert regularization.l1_penalty(nn.BatchNorm(3), 1.0, mask=mask) == 3.0
    assert [leaf.shape for leaf in seen] == [(3,), (3,)]


class Tied(nnx.Module):
    """One embedding under two names, in a module that can be called."""

    def __init__(self):
        self.table = nn.Embedding(3, 2, rngs=nnx.Rngs(0))
        self.head = self.table

    def __call__(self, x):
        return x


def test_tied_weights_count_once():
    model = Tied()
    squares = float(jnp.sum(model.table.embedding[...] ** 2))
    for params in (model, nnx.state(model, nnx.Param)):
        np.testing.assert_allclose(regularization.l2_penalty(params, 2.0), squares, rtol=1e-6)
    model.head = nn.Embedding(3, 2, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(regularization.l2_penalty(model, 2.0), 2 * squares, rtol=1e-6)


def test_mask_may_be_a_module_that_can_be_called():
    model = Tied()
    mask = regularization.decay_mask(model)
    assert callable(mask)
    assert regularization.l2_penalty(model, 1.0, mask=mask) == regularization.l2_penalty(model, 1.0) > 0


def test_complex_parameters_count_with_their_magnitude():
    params = {"w": jnp.array([3 + 4j, 0])}
    assert regularization.l2_penalty(params, 2.0) == 25
    assert regularization.l1_penalty(params, 1.0) == 5
    assert regularization.elastic_net_penalty(params, 1.0, 0.5) == 2.5 + 6.25
    assert regularization.l2_penalty(params, 1.0).dtype == jnp.float32
    for penalty, expected in ((regularization.l1_penalty, [0.6 + 0.8j, 0]), (regularization.l2_penalty, [3 + 4j, 0])):
        # JAX's gradient of a real function is the conjugate of the direction of ascent.
        np.testing.assert_allclose(jnp.conj(jax.grad(penalty)(params, 1.0)["w"]), expected, rtol=1e-6)


def test_integers_do_not_count():
    assert regularization.l2_penalty({"w": jnp.array([2.0]), "step": jnp.array(7), "flag": jnp.array(True)}, 1.0) == 2.0


def test_million_parameters_lose_no_digits():
    assert regularization.l2_penalty(jnp.full(2**20, 0.1), 2.0) == np.float32(2**20 * np.float64(np.float32(0.1)) ** 2)


def test_dtypes():
    half = {"a": jnp.full(5, 300.0, jnp.float16), "b": jnp.ones(3, jnp.bfloat16)}
    assert regularization.l2_penalty(half, 1.0).dtype == jnp.float32
    assert regularization.l2_penalty(half, 2.0) == 450_003
    assert jax.grad(regularization.l1_penalty)(half, 1.0)["a"].dtype == jnp.float16
    assert regularization.l1_penalty({}, 1.0) == 0.0


def test_strength_may_be_traced_and_differentiated():
    value, slope = jax.jit(jax.value_and_grad(regularization.l1_penalty, argnums=1))(PARAMS, 0.5)
    assert (value, slope) == (13.0, 26.0)
    np.testing.assert_array_equal(
        jax.vmap(lambda strength: regularization.l1_penalty(PARAMS, strength))(jnp.array([0.0, 1.0])), [0.0, 26.0]
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: regularization.l1_penalty(PARAMS, -0.1), r"l1_penalty: strength must lie in \[0, inf\], got -0.1"),
        (lambda: regularization.l2_penalty(PARAMS, float("nan")), r"l2_penalty: strength must lie in \[0, inf\]"),
        (lambda: regularization.elastic_net_penalty(PARAMS, 1.0, 1.5), r"l1_ratio must lie in \[0, 1\], got 1.5"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
