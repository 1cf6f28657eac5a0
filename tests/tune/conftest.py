"""Shared parts of the tests of `tune`: one small recipe, and the data that it trains on."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from jaxtrain import losses, nn, optim
from jaxtrain.train import TrainState

Data = tuple[np.ndarray, np.ndarray]


class Net(nnx.Module):
    def __init__(self, p: Any, rngs: nnx.Rngs) -> None:
        self.hidden, self.drop = nn.Linear(4, 8, rngs=rngs), nn.Dropout(p, rngs=rngs)
        self.norm, self.out = nn.BatchNorm(8), nn.Linear(8, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(self.norm(self.drop(jax.nn.relu(self.hidden(x)))))


def recipe(lr: Any, p: Any = 0.0, smoothing: Any = 0.0, seed: Any = 0) -> tuple[TrainState, Callable]:
    """Every kind of hyper-parameter: of the optimizer, of a layer, of the loss, and of the initial values."""

    def loss_fn(model: Net, batch: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        x, y = batch
        logits = model(x)
        return losses.cross_entropy(logits, y, label_smoothing=smoothing), {"accuracy": logits.argmax(axis=-1) == y}

    return TrainState.create(Net(p, nnx.Rngs(jax.random.key(seed))), optim.adam(lr)), loss_fn


@pytest.fixture(scope="session")
def data() -> Data:
    """50 rows of four features that tell three classes apart."""
    rng = np.random.default_rng(0)
    labels = np.arange(50, dtype=np.int32) % 3
    return (rng.normal(size=(50, 4)) + labels[:, None]).astype(np.float32), labels


class Clock(nnx.Module):
    """It counts its steps, and draws a number in each."""

    def __init__(self) -> None:
        self.w, self.steps = nnx.Param(np.float32(0.0)), nnx.Variable(np.int32(0))


def told(first: Any, slope: Any) -> tuple[TrainState, Callable]:
    """A run whose loss at step t is `first + slope * t`, whatever it does."""

    def loss_fn(model: Clock, batch: Any) -> jax.Array:
        model.steps[...] += 1
        return first + slope * (model.steps[...] - 1).astype(np.float32) + 0 * model.w[...]

    return TrainState.create(Clock(), optim.sgd(0.0)), loss_fn


def seen_by(lr: Any = 0.0) -> tuple[TrainState, Callable]:
    """A run whose loss tells which rows its steps saw, and in which order."""

    def loss_fn(model: Clock, batch: jax.Array) -> jax.Array:
        model.steps[...] += 1
        return (batch.mean() + lr) * 1.5 ** model.steps[...].astype(np.float32) + 0 * model.w[...]

    return TrainState.create(Clock(), optim.sgd(0.0)), loss_fn
