"""`nn.Dropout`: probabilities, scaling, modes, keys, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from jaxtrain import nn

KEY = jax.random.key(0)


@pytest.mark.parametrize("p", [1e-3, 0.1, 0.5, 0.8])
def test_each_element_is_dropped_with_probability_p(p):
    dropped = int((nn.dropout(jnp.ones(2**20), p, key=KEY) == 0).sum())
    assert stats.binomtest(dropped, 2**20, p).pvalue > 0.01


def test_neighbours_are_dropped_independently():
    kept = np.asarray(nn.dropout(jnp.ones((512, 512)), 0.5, key=KEY) > 0)
    for left, right in ((kept[:, 1:], kept[:, :-1]), (kept[1:], kept[:-1])):
        assert stats.binomtest(int((left & right).sum()), left.size, 0.25).pvalue > 0.01


@pytest.mark.parametrize("p", [0.0, 0.1, 0.75, 1.0])
def test_traced_probability_draws_the_same_mask(p):
    x = jnp.arange(1.0, 1001.0)
    traced = jax.jit(lambda p: nn.dropout(x, p, key=KEY))(p)
    np.testing.assert_array_equal(traced == 0, nn.dropout(x, p, key=KEY) == 0)
    np.testing.assert_allclose(traced, nn.dropout(x, p, key=KEY), rtol=1e-6)


def test_mask_does_not_depend_on_the_dtype():
    x = jnp.ones(1000, jnp.bfloat16)
    with jax.enable_x64(True):
        wide = nn.dropout(jnp.ones(1000, jnp.float64), 0.3, key=KEY)
        assert wide.dtype == np.float64
    narrow = nn.dropout(x, 0.3, key=KEY)
    assert narrow.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(narrow) == 0, np.asarray(wide) == 0)


def test_gradient_is_the_scaled_mask():
    output, pullback = jax.vjp(lambda x: nn.dropout(x, 0.2, key=KEY), jnp.ones(100))
    np.testing.assert_array_equal(pullback(jnp.ones(100))[0], output)
    assert set(np.unique(output)) == {0.0, 1.25}


@pytest.mark.parametrize("p", [1.0, jnp.float32(1.0)])
def test_everything_dropped_is_zero_with_gradient_zero(p):
    value, gradient = jax.jit(jax.value_and_grad(lambda x, p: nn.dropout(x, p, key=KEY).sum()))(jnp.ones(5), p)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(5))


def test_dropped_infinities_are_zero():
    output = nn.dropout(jnp.full(100, jnp.inf), 0.5, key=KEY)
    assert set(np.unique(output)) == {0.0, np.inf}


def test_integers_may_not_be_dropped():
    with pytest.raises(TypeError, match="floating-point, got int32"):
        nn.dropout(jnp.arange(4), key=KEY)


def test_training_needs_a_key():
    with pytest.raises(ValueError, match=r"pass key=jax.random.key\(...\), or training=False"):
        nn.dropout(jnp.ones(4))
    np.testing.assert_array_equal(nn.dropout(jnp.ones(4), training=False), np.ones(4))


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_probability_outside_the_unit_interval_is_refused(p):
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
        nn.dropout(jnp.ones(4), p, key=KEY)
    with pytest.raises(ValueError, match=r"Dropout: p must lie in \[0, 1\]"):
        nn.Dropout(p, rngs=nnx.Rngs(0))


class TwoDropouts(nnx.Module):
    def __init__(self, rngs):
        self.first, self.second = nn.Dropout(0.5, rngs=rngs), nn.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.first(x), self.second(x)


def test_layers_draw_masks_of_their_own_at_every_call():
    model, x = TwoDropouts(nnx.Rngs(0)), jnp.ones(64)
    masks = [np.asarray(mask) for mask in (*model(x), *model(x))]
    assert len({mask.tobytes() for mask in masks}) == 4


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_successive_masks_are_independent_even_if_shifted(impl):
    layer = nn.Dropout(0.5, rngs=nnx.Rngs(dropout=jax.random.key(3, impl=impl)))
    first, *others = (np.asarray(layer(jnp.ones(2**16)) == 0) for _ in range(4))
    pvalues = [
        stats.binomtest(int((first ^ np.roll(other, shift)).sum()), first.size).pvalue
        for other in others
        for shift in (-2, -1, 0, 1, 2)
    ]
    assert min(pvalues) > 0.01 / len(pvalues)


def test_a_mask_costs_no_hash_but_its_own():
    layer = nn.Dropout(0.5, rngs=nnx.Rngs(0))
    graph, state = nnx.split(layer)
    program = str(jax.make_jaxpr(lambda state, x: nnx.merge(graph, state)(x))(state, jnp.ones(3)))
    assert program.count("random_bits") == 1
    assert "fold_in" not in program
    assert "random_split" not in program


def test_masks_repeat_with_the_state_of_the_streams():
    model, x = TwoDropouts(nnx.Rngs(dropout=3)), jnp.ones(64)
    graph, start = nnx.split(model)
    before = nnx.merge(graph, start, copy=True)(x)
    np.testing.assert_array_equal(before, nnx.merge(graph, start, copy=True)(x))
    streams = nnx.state(model, nnx.RngState)
    assert len(jax.tree.leaves(streams)) == 4


def test_modes():
    model, x = TwoDropouts(nnx.Rngs(0)), jnp.ones(64)
    model.eval()
    np.testing.assert_array_equal(model(x)[0], x)
    assert (model.first(x, deterministic=False) == 0).any()
    view = nnx.view(model, deterministic=False)
    assert (view(x)[0] == 0).any()
    np.testing.assert_array_equal(model(x)[0], x)
    model.train()
    assert (model(x)[0] == 0).any()
    assert "deterministic: bool | None = None\n    True for the identity" in nnx.view_info(model)


def test_evaluation_draws_nothing():
    model = TwoDropouts(nnx.Rngs(0))
    model.eval()
    model(jnp.ones(4))
    assert model.first.rngs.count[...] == 0
