"""Flax as its tutorials train: `nnx.jit`, `nnx.Optimizer` and `nnx.MultiMetric`."""

from collections.abc import Callable

import jax
import optax
from flax import nnx

from parity.speed.runs import plain
from parity.speed.runs.by_hand import batches_on_device
from parity.speed.runs.modules import FLAX, module
from parity.speed.runs.task import Task


def steps(task: Task) -> Callable[[int], None]:
    """Compiled steps over modules; metrics are read after each epoch."""
    model = module(task.network, FLAX)
    optimizer = nnx.Optimizer(model, plain.optimizer(task), wrt=nnx.Param)
    metrics = nnx.MultiMetric(accuracy=nnx.metrics.Accuracy(), loss=nnx.metrics.Average("loss"))
    batches = batches_on_device(task)

    def loss_fn(model: nnx.Module, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = model(x)  # pyright: ignore[reportCallIssue] - nnx.Module does not declare how it is called.
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), logits

    @nnx.jit
    def train_step(
        model: nnx.Module, optimizer: nnx.Optimizer, metrics: nnx.MultiMetric, x: jax.Array, y: jax.Array
    ) -> None:
        (loss, logits), gradients = nnx.value_and_grad(loss_fn, has_aux=True)(model, x, y)
        metrics.update(loss=loss, logits=logits, labels=y)
        optimizer.update(model, gradients)

    def run(epochs: int) -> None:
        for _ in range(epochs):
            for x, y in batches:
                train_step(model, optimizer, metrics, x, y)
            jax.device_get(metrics.compute())
            metrics.reset()

    return run
