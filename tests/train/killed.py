"""A small run with checkpoints that kills itself at a moment; run by test_checkpoints."""

import dataclasses
import os
import signal
import sys

import jax
import numpy as np
from flax import nnx

from jaxtrain import losses, nn, optim
from jaxtrain.train import Checkpoints, CsvLog, EarlyStopping, Listener, TrainState, fit

folder, moment = sys.argv[1:]


class Kill(Listener):
    """Kills the process with SIGKILL at a moment: 'during-step-7', 'before-saving-2', 'while-saving-3'."""

    last = moment.startswith("while-saving")

    def stepped(self, step, metrics):
        if moment == f"during-step-{step}":
            os.kill(os.getpid(), signal.SIGKILL)

    def epoch_ended(self, epoch, entries, state):
        if moment in (f"before-saving-{epoch}", f"while-saving-{epoch}"):
            os.kill(os.getpid(), signal.SIGKILL)


def loss_fn(model, batch):
    x, y = batch
    logits = model(x)
    return losses.cross_entropy(logits, y), {"accuracy": logits.argmax(-1) == y}


rngs = nnx.Rngs(0)
layers = [nn.Linear(4, 16, rngs=rngs), nn.BatchNorm(16), nn.Dropout(0.5, rngs=rngs), nn.Linear(16, 3, rngs=rngs)]
x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
data = x, x[:, :3].argmax(1).astype(np.int32)
state, history = fit(
    TrainState.create(nnx.Sequential(*layers), optim.adamw(1e-2), key=1),
    loss_fn,
    data,
    validation=data,
    epochs=6,
    batch_size=16,
    listeners=[
        Checkpoints(f"{folder}/saved", keep_best="val_loss"),
        EarlyStopping("val_loss", patience=9),
        CsvLog(f"{folder}/log.csv"),
        Kill(),
    ],
    progress=False,
)
state = dataclasses.replace(state, key=jax.random.key_data(state.key))
np.savez(f"{folder}/end.npz", *jax.tree.leaves(state), **dict(history))
