"""One process of several that train together, or of one without a placement; run by test_placement_processes."""

import os
import sys

process, processes, port, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
# ruff: noqa: E402
# JAX reads the flags when it makes its first array.
from parity._compilation import QUICK

os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=2 {QUICK}"

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.experimental.multihost_utils import process_allgather

from jaxtrain import losses, nn, optim
from jaxtrain.train import (
    Batches,
    Checkpoints,
    CsvLog,
    EarlyStopping,
    Placement,
    TrainState,
    evaluate,
    fit,
    make_eval_step,
    predict,
)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_cpu_collectives_implementation", "gloo")
if processes > 1:
    jax.distributed.initialize(f"localhost:{port}", processes, process)


class Net(nnx.Module):
    """Batch norm and dropout, which must see the whole batch."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.hidden = nn.Linear(4, 16, param_dtype=jnp.float64, rngs=rngs)
        self.norm = nn.BatchNorm(16, param_dtype=jnp.float64)
        self.drop = nn.Dropout(0.5, rngs=rngs)
        self.out = nn.Linear(16, 4, param_dtype=jnp.float64, rngs=rngs)

    def __call__(self, x):
        return self.out(self.drop(jax.nn.relu(self.norm(self.hidden(x)))))


def loss_fn(model, batch):
    x, y = batch
    logits = model(x)
    return losses.cross_entropy(logits, y), {"accuracy": logits.argmax(-1) == y}


def new():
    return TrainState.create(Net(), optim.sgd(0.1, momentum=0.9), key=1)


x = np.random.default_rng(0).normal(size=(32, 4))
data = x, x.argmax(1).astype(np.int32)
settings = {"validation": data, "progress": False}


def part(epoch):
    """The rows of this process in every batch."""
    for batch in Batches(data, 8, shuffle=True).epoch(epoch):
        yield jax.tree.map(lambda leaf: np.split(leaf, processes)[process], batch)


def train(name, placement, source, epochs=2, **changes):
    state, history = fit(new(), loss_fn, source, epochs=epochs, placement=placement, **settings, **changes)
    variables = jax.tree.leaves(process_allgather((state.params, state.model_state, state.opt_state), tiled=True))
    results[name] = np.concatenate([np.ravel(leaf) for leaf in variables])
    results[f"{name}, history"] = np.array([history["loss"], history["val_loss"], history["accuracy"]])
    return state


results = {}
alike, sharded = (Placement(), Placement(fully_sharded="data", min_size=1)) if processes > 1 else (None, None)
state = train("arrays", alike, data, batch_size=8)
results["evaluate"] = np.array(list(evaluate(make_eval_step(loss_fn, placement=alike), state, data).values()))
results["predict"] = predict(state, lambda model, batch: model(batch[0]), data, batch_size=8)
state = train("parts", sharded, part)


def score(model, batch):
    return model(batch[0])


results["evaluate, parts"] = evaluate(make_eval_step(loss_fn, placement=sharded), state, part)["loss"]
results["predict, sharded"] = predict(state, score, data, batch_size=24)
results["predict, parts"] = predict(state, score, part, placement=sharded)
if processes > 1:
    for use in (lambda: evaluate(make_eval_step(loss_fn), state, part), lambda: predict(state, score, part)):
        with pytest.raises(ValueError, match="a placement for batches of which each of 2 processes has a part, got no"):
            use()
for epochs in (1, 2):
    listeners = [Checkpoints(f"{folder}/{processes}"), EarlyStopping("val_loss", patience=9)]
    listeners += [CsvLog(f"{folder}/{processes}.csv")]
    train("resumed", sharded, data, epochs, batch_size=8, listeners=listeners)
state = new() if sharded is None else sharded.create(new)
results["created"] = process_allgather(state.params["hidden"]["kernel"], tiled=True)
if process == 0:
    np.savez(f"{folder}/{processes}.npz", **results)
