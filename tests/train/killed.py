"""A small run with checkpoints that kills itself at a moment; run by test_killed_runs."""

import dataclasses
import os
import resource
import signal
import sys
import threading

import jax
import numpy as np
from flax import nnx

from jaxtrain import losses, nn, optim
from jaxtrain.train import Checkpoints, CsvLog, EarlyStopping, Listener, TrainState, fit

folder, moment = sys.argv[1:]


class Kill(Listener):
    """Kills the process at a moment: 'during-step-7', 'before-saving-2', 'while-saving-3', or 'after-0.25' seconds.

    'terminate-3' asks it to end, 'full-3' lets no file grow beyond a few bytes from that epoch on.
    """

    last = moment.startswith("while-saving")

    def started(self, run):
        if moment.startswith("after-"):
            timer = threading.Timer(float(moment[6:]), os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()

    def stepped(self, step, metrics):
        if moment == f"during-step-{step}":
            os.kill(os.getpid(), signal.SIGKILL)

    def epoch_ended(self, epoch, entries, state):
        if moment in (f"before-saving-{epoch}", f"while-saving-{epoch}"):
            os.kill(os.getpid(), signal.SIGKILL)
        if moment == f"terminate-{epoch}":
            os.kill(os.getpid(), signal.SIGTERM)
        if moment == f"full-{epoch}":
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))


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
        Checkpoints(f"{folder}/saved", keep_best="val_loss", every_steps=1),
        EarlyStopping("val_loss", patience=9),
        CsvLog(f"{folder}/log.csv"),
        Kill(),
    ],
    progress=False,
)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
state = dataclasses.replace(state, key=jax.random.key_data(state.key))
np.savez(f"{folder}/end.npz", *jax.tree.leaves(state), **dict(history))
