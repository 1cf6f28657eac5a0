"""TrainState: one pytree of plain arrays, each in a separate buffer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxtrain import nn, optim
from jaxtrain.train import AveragedEvery, TrainState


def buffer(leaf):
    leaf = jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    return leaf.unsafe_buffer_pointer()


def plain(tree):
    """Whether there is nothing but dicts and arrays."""
    if isinstance(tree, dict):
        return all(map(plain, tree.values()))
    return isinstance(tree, jax.Array)


def test_state_is_plain_dicts_of_arrays(net):
    assert plain(net.state.params)
    assert plain(net.state.model_state)
    assert jax.tree.map(jnp.shape, net.state.params) == {
        "hidden": {"bias": (16,), "kernel": (4, 16)},
        "norm": {"bias": (16,), "weight": (16,)},
        "out": {"bias": (3,), "kernel": (16, 3)},
    }
    assert jax.tree.map(jnp.shape, net.state.model_state) == {
        "norm": {"num_batches_tracked": (), "running_mean": (16,), "running_var": (16,)}
    }
    assert net.state.step.dtype == jnp.int32
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(net.state))


def test_every_leaf_has_a_buffer_of_its_own():
    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return {"first": zeros, "second": zeros, "params": params}

    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    state = TrainState.create(model, optax.GradientTransformation(init, lambda g, s, p: (g, s)))
    pointers = [buffer(leaf) for leaf in jax.tree.leaves((state, nnx.state(model)))]
    assert len(set(pointers)) == len(pointers) == 12


def test_weak_types_are_made_firm():
    model = nnx.Module()
    model.scale = nnx.Param(jnp.asarray(1.0))
    model.calls = nnx.Variable(3)
    assert model.scale.get_raw_value().weak_type
    state = TrainState.create(model, optax.identity())
    assert not state.params["scale"].weak_type
    assert state.model_state["calls"].dtype == jnp.int32


def test_model_has_the_values_and_the_mode(net):
    original = net.Net()
    model = net.state.model()
    assert isinstance(model, net.Net)
    x = net.batch[0]
    original.eval()
    np.testing.assert_array_equal(model(x), original(x))
    assert model.norm.use_running_average
    trained = net.state.model(train=True)
    assert not trained.norm.use_running_average
    assert not trained.drops[1].deterministic


def test_create_leaves_the_model_as_it_is():
    model = nnx.Dropout(0.5, deterministic=True, rngs=nnx.Rngs(0))
    model.seen = nnx.Intermediate(jnp.ones(3))
    before = model.rngs.key[...]
    state = TrainState.create(model, optax.identity())
    assert jax.tree.leaves(state.model_state) == []
    assert model.seen[...].shape == (3,)
    assert model.deterministic
    assert model.rngs.key[...] is before


def test_shared_parameters_are_one():
    model = nnx.List([nnx.Linear(3, 3, rngs=nnx.Rngs(seed)) for seed in range(2)])
    model[1].kernel = model[0].kernel
    state = TrainState.create(model, optax.identity())
    assert jax.tree.map(jnp.shape, state.params) == {0: {"bias": (3,), "kernel": (3, 3)}, 1: {"bias": (3,)}}
    again = state.model()
    assert again[1].kernel is again[0].kernel


def test_absent_parameters_stay_absent():
    state = TrainState.create(nn.BatchNorm(2, affine=False), optax.identity())
    assert jax.tree.leaves(state.params) == []
    assert state.model()(jnp.ones((1, 2))).shape == (1, 2)


def test_random_streams_differ_by_stream_and_step_only(net, state):
    def keys(state):
        return [jax.random.key_data(drop.rngs.key[...]).tolist() for drop in state.model().drops]

    first, second = keys(state)
    assert first != second
    assert keys(state) == [first, second]
    later = jax.tree.map(lambda leaf: leaf, state)
    later = TrainState(**{**vars(later), "step": later.step + 1})
    assert all(key not in (first, second) for key in keys(later))
    expected = jax.random.split(jax.random.fold_in(jax.random.key(7), 0), 2)[0]
    assert first == jax.random.key_data(expected).tolist()


def test_the_key_of_a_loss_is_no_key_of_the_streams(state):
    def numbers(*keys):
        return {tuple(jax.random.key_data(key).tolist()) for key in keys}

    at = [jax.random.fold_in(state.key, step) for step in (0, 1)]
    of_loss = numbers(*(dataclasses.replace(state, step=jnp.int32(step)).step_key() for step in (0, 1)))
    assert len(of_loss) == 2
    assert not of_loss & numbers(state.key, *at, *jax.random.split(at[0]), *jax.random.split(at[1]))


def test_masks_repeat_after_no_number_of_steps(state):
    steps = [*range(0, 1024, 64), *(2**power for power in (1, 2, 3, 4, 5, 12, 16, 20, 24, 30)), 2**31 - 1]
    blueprint = state.blueprint

    @jax.jit
    @jax.vmap
    def streams(step):
        model = blueprint.module(state.params, state.model_state, state.key, step, train=True)
        return [(jax.random.key_data(drop.rngs.key[...]), drop.rngs.count[...]) for drop in model.drops]

    found = streams(jnp.asarray(steps, jnp.int32))
    keys = np.concatenate([np.asarray(key) for key, _ in found])
    assert len(np.unique(keys, axis=0)) == 2 * len(steps)
    assert not any(np.any(count) for _, count in found)  # Each step counts its masks from zero.


def test_stacked_random_streams_get_a_key_each():
    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def stacked(rngs):
        return nnx.Dropout(0.5, rngs=rngs)

    model = TrainState.create(stacked(nnx.Rngs(0)), optax.identity()).model(train=True)
    masks = nnx.vmap(lambda drop, x: drop(x), in_axes=(0, None))(model, jnp.ones(64))
    assert len({tuple(mask.tolist()) for mask in masks}) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((object(), optax.identity()), "model must be an nnx.Module"),
        ((nn.BatchNorm(2), optax.adam), "optimizer must be an optax.GradientTransformation such as"),
        ((nn.BatchNorm(2), optax.identity(), 0.5), "key must be an integer seed or one key"),
        ((nn.BatchNorm(2), optax.identity(), True), "key must be an integer seed or one key"),
        (
            (nn.BatchNorm(2), optax.identity(), jax.random.split(jax.random.key(0))),
            "key must be an integer seed or one",
        ),
    ],
)
def test_wrong_types(arguments, message):
    with pytest.raises(TypeError, match=message):
        TrainState.create(*arguments)


@pytest.mark.parametrize("average", [0.9, optim.get_ema_avg_fn(0.9)])
def test_what_is_not_an_average_is_refused(average):
    with pytest.raises(TypeError, match=r"TrainState.create: average must be a jaxtrain.optim.averaged_model or"):
        TrainState.create(nn.BatchNorm(2), optax.identity(), average=average)
    with pytest.raises(TypeError, match=r"AveragedEvery: average must be a jaxtrain.optim.averaged_model or"):
        AveragedEvery(average, every=2)


def test_variables_that_cannot_be_trained():
    model = nnx.Module()
    model.table = nnx.Param(jnp.arange(3))
    with pytest.raises(
        TypeError, match=r"parameter table must hold floats to be trained, got int32; keep it in an nnx"
    ):
        TrainState.create(model, optax.identity())
    model = nnx.Module()
    model.name = nnx.Variable("digits")
    with pytest.raises(TypeError, match="variable name must hold an array, got 'digits'"):
        TrainState.create(model, optax.identity())
