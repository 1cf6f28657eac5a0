"""Hand-written JAX: a compiled step over plain dicts, and an epoch of steps in one program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from parity.speed.runs import canonical, plain
from parity.speed.runs.task import Task

Carry = Any


class Update:
    """One step of a task: `(carry, x, y) -> (carry, metrics)`.

    Attributes:
        optimizer: Optax's.
    """

    def __init__(self, task: Task, convolve: plain.Convolve | None = None) -> None:
        self.optimizer = plain.optimizer(task)
        self._init, self._apply = plain.network(task.network, convolve)

    def start(self) -> Carry:
        """Parameters, statistics, the optimizer's state, a key and the number of the step."""
        params, statistics = self._init(jax.random.key(0))
        return params, statistics, self.optimizer.init(params), jax.random.key(1), jnp.int32(0)

    def metrics(self, carry: Carry, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Loss and accuracy in evaluation."""
        params, statistics, *_ = carry
        loss, (_, accuracy) = self._loss(params, statistics, None, x, y)
        return loss, accuracy

    def __call__(self, carry: Carry, x: jax.Array, y: jax.Array) -> tuple[Carry, tuple[jax.Array, jax.Array]]:
        params, statistics, memory, key, step = carry
        differentiate = jax.value_and_grad(self._loss, has_aux=True)
        (loss, (statistics, accuracy)), gradients = differentiate(
            params, statistics, jax.random.fold_in(key, step), x, y
        )
        updates, memory = self.optimizer.update(gradients, memory, params)
        return (optax.apply_updates(params, updates), statistics, memory, key, step + 1), (loss, accuracy)

    def _loss(self, params: Any, statistics: Any, key: jax.Array | None, x: jax.Array, y: jax.Array) -> Any:
        logits, statistics = self._apply(params, statistics, x, key)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return loss, (statistics, (logits.argmax(-1) == y).mean())


def steps(task: Task) -> Callable[[int], None]:
    """Compiled steps, one call for each batch; metrics are read after each epoch."""
    update = Update(task)
    step = jax.jit(update, donate_argnums=0)
    carry = jax.jit(update.start)()
    batches = batches_on_device(task)

    def run(epochs: int) -> None:
        nonlocal carry
        for _ in range(epochs):
            metrics = []
            for x, y in batches:
                carry, one = step(carry, x, y)
                metrics.append(one)
            np.mean(jax.device_get(metrics), axis=0)

    return run


def scanned(task: Task, *, canonical_gradients: bool = False) -> Callable[[int], None]:
    """A program an epoch, which gathers the batches in a new order and validates at the end."""
    update = Update(task, canonical.convolve if canonical_gradients else None)
    data, held_out = jax.device_put(task.data())
    carry = jax.jit(update.start)()
    parts = jax.tree.map(lambda rows: rows.reshape(-1, task.batch_size, *rows.shape[1:]), held_out)

    def epoch(carry: Carry, data: Any, parts: Any, order: jax.Array) -> Any:
        carry, metrics = jax.lax.scan(lambda carry, rows: update(carry, *(leaf[rows] for leaf in data)), carry, order)
        validation = jax.lax.map(lambda part: update.metrics(carry, *part), parts)
        return carry, jax.tree.map(jnp.mean, (metrics, validation))

    program = jax.jit(epoch, donate_argnums=0)
    draws = np.random.default_rng(0)

    def run(epochs: int) -> None:
        nonlocal carry
        for _ in range(epochs):
            order = draws.permutation(task.batch_size * task.steps).astype(np.int32).reshape(task.steps, -1)
            carry, metrics = program(carry, data, parts, order)
            jax.device_get(metrics)

    return run


def batches_on_device(task: Task) -> list[tuple[jax.Array, jax.Array]]:
    """The training data as batches that lie on the device."""
    (x, y), _ = task.data()
    size = task.batch_size
    return [jax.device_put((x[row : row + size], y[row : row + size])) for row in range(0, len(x), size)]
