"""What is written down, and where the learning rate is found."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx

from jaxtrain import optim
from jaxtrain.train import History, TrainState, learning_rates, set_learning_rate


class Model(nnx.Module):
    """Its parameters have the names that a search by name must not fall for."""

    def __init__(self):
        self.lr = nnx.Param(jnp.full((), 7.0))
        self.learning_rate = nnx.Param(jnp.full(2, 8.0))


def rates(optimizer):
    return learning_rates(TrainState.create(Model(), optimizer))


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (optim.sgd(lr=0.5, momentum=0.9), {"lr": 0.5}),
        (optax.chain(optax.clip(1.0), optim.adam(lr=0.25)), {"lr": 0.25}),
        (optax.masked(optim.adam(lr=0.25), {"lr": True, "learning_rate": False}), {"lr": 0.25}),
        (optax.MultiSteps(optim.sgd(lr=0.5), 2).gradient_transformation(), {"lr": 0.5}),
        (
            optax.partition(
                {"body": optim.sgd(lr=0.5), "head": optim.adamw(lr=0.25)}, {"lr": "body", "learning_rate": "head"}
            ),
            {"lr/body": 0.5, "lr/head": 0.25},
        ),
        (optax.inject_hyperparams(optax.sgd)(learning_rate=0.5), {"lr": 0.5}),
        (
            optax.inject_hyperparams(optax.sgd)(learning_rate=lambda count: 0.5 / (1.0 + count.astype(float))),
            {"lr": 0.5},
        ),
        (optax.inject_hyperparams(optim.sgd)(lr=0.5), {"lr": 0.5}),
        (optax.adam(0.5), {}),
        (optax.trace(0.9), {}),
    ],
)
def test_where_the_rate_is_found(optimizer, expected):
    assert rates(optimizer) == expected


def injected(lr, **options):
    return optax.inject_hyperparams(optax.sgd, **options)(learning_rate=lr)


def grouped(body, head):
    return optax.partition({"body": body, "head": head}, {"lr": "body", "learning_rate": "head"})


@pytest.mark.parametrize("rate", [0.0, 0.125])
def test_every_rate_that_can_be_set_is_set_in_its_dtype(rate):
    half = injected(0.5, hyperparam_dtype=jnp.bfloat16)
    scheduled = injected(lambda count: jnp.float32(0.75))
    for optimizer, expected in (
        (grouped(injected(0.5), half), {"lr/body": rate, "lr/head": rate}),
        (grouped(scheduled, half), {"lr/body": 0.75, "lr/head": rate}),
        (grouped(half, scheduled), {"lr/body": rate, "lr/head": 0.75}),
    ):
        state = TrainState.create(Model(), optimizer)
        changed = set_learning_rate(state, rate)
        assert learning_rates(changed) == expected
        # Another type would be another program.
        assert jax.tree.map(jax.typeof, changed) == jax.tree.map(jax.typeof, state)


def test_rate_is_that_of_the_last_update():
    optimizer = optim.sgd(lr=lambda count: 0.5 / (count.astype(float) + 1))
    state = TrainState.create(Model(), optimizer)
    opt_state = state.opt_state
    for _ in range(2):
        _, opt_state = optimizer.update(jax.tree.map(jnp.ones_like, state.params), opt_state, state.params)
    assert learning_rates(TrainState(**{**vars(state), "opt_state": opt_state})) == {"lr": 0.25}


def test_history_is_a_mapping_from_names_to_lists():
    history = History()
    history.append({"epoch": 0, "loss": 2.0})
    history.append({"epoch": 1, "loss": 1.0})
    assert history["loss"] == [2.0, 1.0]
    assert "loss" in history
    assert "val_loss" not in history
    assert repr(history) == "History({'epoch': [0, 1], 'loss': [2.0, 1.0]})"
    assert isinstance(history, Mapping)
    assert (list(history), len(history)) == (["epoch", "loss"], 2)
    assert dict(history) == history == {"epoch": [0, 1], "loss": [2.0, 1.0]}
    assert history.get("val_loss") is None
    with pytest.raises(KeyError, match="'loss' was not logged; there is nothing"):
        History()["loss"]
    with pytest.raises(KeyError, match="'accuracy' was not logged; there is 'epoch', 'loss'"):
        history["accuracy"]
