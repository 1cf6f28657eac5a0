"""jaxtrain: its compiled step, and `fit` from end to end."""

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import jax
import optax

from jaxtrain import losses, optim, schedules
from jaxtrain.train import TrainState, fit, make_train_step
from parity.speed.runs.by_hand import batches_on_device
from parity.speed.runs.modules import OURS, module
from parity.speed.runs.task import Sgd, Task


def optimizer(task: Task) -> optax.GradientTransformation:
    """jaxtrain's optimizer of a task."""
    match task.optimizer:
        case Sgd(lr, momentum, weight_decay, decay_every):
            rate = schedules.step_lr(lr, step_size=decay_every, gamma=0.99) if decay_every else lr
            return optim.sgd(rate, momentum=momentum, weight_decay=weight_decay)
        case adam:
            decay = adam.weight_decay
            return optim.adamw(adam.lr, weight_decay=decay) if decay else optim.adam(adam.lr)


def loss_fn(model: Any, batch: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy and accuracy."""
    x, y = batch
    logits = model(x)
    return losses.cross_entropy(logits, y), {"accuracy": logits.argmax(-1) == y}


def steps(task: Task) -> Callable[[int], None]:
    """Compiled steps, one call for each batch; metrics are read after each epoch."""
    state = TrainState.create(module(task.network, OURS), optimizer(task))
    step = make_train_step(loss_fn)
    batches = batches_on_device(task)

    def run(epochs: int) -> None:
        nonlocal state
        for _ in range(epochs):
            metrics = []
            for batch in batches:
                state, one = step(state, batch)
                metrics.append(one)
            jax.device_get(metrics)

    return run


def fitted(task: Task) -> Callable[[int], None]:
    """`fit` with shuffling, metrics, validation and a bar."""
    state = TrainState.create(module(task.network, OURS), optimizer(task))
    data, held_out = task.data()

    def run(epochs: int) -> None:
        with redirect_stdout(io.StringIO()):
            fit(state, loss_fn, data, epochs=epochs, batch_size=task.batch_size, validation=held_out)

    return run
