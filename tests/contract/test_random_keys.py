"""The random keys of a train step: one derivation for all layers, and no key twice."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.extend.core import jaxprs_in_params

from jaxtrain import nn
from jaxtrain.train import Average, TrainState, make_train_step

DERIVATIONS = ("random_seed", "random_fold_in", "random_split", "random_gamma", "threefry2x32")


class Dropped(nnx.Module):
    """Some dropout layers one after another, each called `calls` times."""

    def __init__(self, layers, calls=1):
        self.w = nnx.Param(jnp.ones(()))
        self.drops = nnx.List([nn.Dropout(0.5, rngs=nnx.Rngs(0)) for _ in range(layers)])
        self.calls = calls

    def __call__(self, ones):
        return {f"{layer}.{call}": drop(ones) for call in range(self.calls) for layer, drop in enumerate(self.drops)}


def loss_fn(model, ones):
    masks = model(ones)
    return model.w[...] * sum(mask.mean() for mask in masks.values()), {n: Average(m, 1) for n, m in masks.items()}


def start(model, **options):
    return TrainState.create(model, optax.sgd(0.0), **options)


def primitives(jaxpr):
    """How often each primitive occurs in a program, with what it calls."""
    inner = (primitives(part) for equation in jaxpr.eqns for part in jaxprs_in_params(equation.params))
    return sum(inner, Counter(equation.primitive.name for equation in jaxpr.eqns))


@pytest.mark.parametrize("calls", [1, 2])
def test_derivation_does_not_grow_with_the_layers(calls):
    step = make_train_step(loss_fn)
    few, many = (
        primitives(jax.make_jaxpr(step)(start(Dropped(layers, calls)), jnp.ones(8)).jaxpr) for layers in (2, 20)
    )
    assert (few["random_bits"], many["random_bits"]) == (2 * calls, 20 * calls)
    derived = {name: few[name] for name in DERIVATIONS if few[name]}
    assert (
        derived == {name: many[name] for name in DERIVATIONS if many[name]} == {"random_fold_in": 1, "random_split": 1}
    )


@pytest.mark.parametrize("kind", [nn.Dropout, nn.AlphaDropout])
@pytest.mark.parametrize("shape", [(30, 40), (6, 5, 40), (3, 2, 5, 40)])
def test_no_two_rows_of_an_input_share_a_mask(kind, shape):
    rows = kind(0.5, rngs=nnx.Rngs(0))(jnp.ones(shape)).reshape(30, 40)
    assert len(np.unique(rows, axis=0)) == 30


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_no_mask_comes_twice_in_a_thousand_steps(impl):
    """Over layers, calls of a layer, and steps; 64 random bits each, so a chance repetition has odds of 1e-12."""
    state = start(Dropped(layers=2, calls=2), key=jax.random.key(3, impl=impl))
    masks = jax.lax.scan(make_train_step(loss_fn), state, jnp.ones((1000, 64)))[1]
    drawn = np.concatenate([np.asarray(masks[f"{layer}.{call}"].total) for layer in (0, 1) for call in (0, 1)])
    assert len(np.unique(drawn, axis=0)) == len(drawn) == 4000


def test_no_key_comes_twice_at_steps_far_apart():
    """What repeats after a power of two of steps, as a counter of too few bits does, shows at these steps."""
    steps = sorted({min(2**power + offset, 2**31 - 1) for power in range(32) for offset in (-1, 0, 1)})
    state = start(Dropped(layers=3))
    streams = jax.vmap(
        lambda step: nnx.state(state.blueprint.module({**state.params}, {}, state.key, step, train=True))
    )
    keys = [
        jax.random.key_data(leaf) for leaf in jax.tree.leaves(streams(jnp.array(steps, jnp.int32)))
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    ]  # fmt: skip
    assert len(keys) == 3
    assert len(np.unique(np.concatenate(keys), axis=0)) == 3 * len(steps)
