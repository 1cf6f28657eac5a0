"""Many runs of one recipe in one program."""

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from jaxtrain.train.data import Batches
from jaxtrain.train.epochs import counting_epochs, last_step
from jaxtrain.train.evaluation import evaluated
from jaxtrain.train.metrics import Average, Metrics
from jaxtrain.train.state import TrainState
from jaxtrain.train.step import LossFn, make_eval_step, make_train_step
from jaxtrain.tune.recipe import Recipe, Start, start

AXIS = "members"
ALL, EACH = PartitionSpec(), PartitionSpec(AXIS)

Numbers = Mapping[str, Array]
"""The hyper-parameters of one run, or of all runs along a leading axis."""
Orders = Sequence[Array]
"""Rows of the data in the order in which they are visited."""


class Members:
    """The runs of one recipe with different hyper-parameters, which advance together.

    Every program calls the recipe again, with the hyper-parameters traced: what the recipe builds around them, a loss
    or an optimizer, exists only while a program is traced, and XLA leaves out what it computes in vain.

    Args:
        where: how errors begin.
        recipe: a function of hyper-parameters that returns a state and a loss.
        metrics_fn: what to evaluate; None for the loss of the recipe.
        devices: the runs are spread over them.
        steps: steps in an epoch.

    Attributes:
        last_step: the last step for which the schedules of the optimizer have a value, known after `start`; None if
            they do not end.
    """

    def __init__(
        self, where: str, recipe: Recipe, metrics_fn: LossFn | None, devices: Sequence[Any], steps: int
    ) -> None:
        self.where = where
        self._recipe = recipe
        self._metrics_fn = metrics_fn
        self.devices = list(devices)
        self.steps = steps
        self.last_step: float | None = None
        self._on_cpu = self.devices[0].platform == "cpu"
        self._mesh = Mesh(np.array(devices), AXIS)
        self.start = self._program(self._started, EACH, EACH)
        self.run = self._program(self._run, EACH, EACH, ALL, ALL, ALL, ALL, donate_argnums=1)

    def _program(self, one: Callable[..., Any], *specs: PartitionSpec, **options: Any) -> Callable[..., Any]:
        """Compile a function of one run for all runs, a part of them on each device."""
        axes = tuple(0 if spec == EACH else None for spec in specs)
        many = jax.vmap(one, in_axes=axes)
        # Members never talk to each other, so there is nothing that the check of varying axes could find.
        return jax.jit(jax.shard_map(many, mesh=self._mesh, in_specs=specs, out_specs=EACH, check_vma=False), **options)

    def placed(self, tree: PyTree, *, each: bool) -> PyTree:
        """Arrays on the devices: a part of the leading axis on `each`, or everything on all."""
        return jax.device_put(tree, NamedSharding(self._mesh, EACH if each else ALL))

    def _started(self, run: Array, values: Numbers) -> TrainState:
        """The state before the first step. `run` only counts the runs: there may be no values."""
        state = start(self.where, self._recipe, values).state
        self.last_step = last_step(state, self.steps)
        return _bare(state)

    def _run(
        self, values: Numbers, bare: TrainState, data: PyTree, orders: Orders, held_out: PyTree, held_out_orders: Orders
    ) -> tuple[TrainState, tuple[list[Metrics], list[Metrics]]]:
        """Train and evaluate, one epoch after the other; the metrics have an axis of epochs before that of steps.

        `orders` has the rows of each step of each epoch, by the size of the batches, `held_out_orders` those of each
        evaluation.
        """

        def epoch(bare: TrainState, orders: Orders) -> tuple[TrainState, tuple[list[Metrics], list[Metrics]]]:
            trained = []
            for order in orders:
                bare, metrics = self._trained(values, bare, data, order)
                trained.append(metrics)
            return bare, (trained, [self._evaluated(values, bare, held_out, order) for order in held_out_orders])

        return jax.lax.scan(epoch, bare, orders)

    def _trained(self, values: Numbers, bare: TrainState, data: PyTree, order: Array) -> tuple[TrainState, Metrics]:
        """Train on the rows that each line of `order` lists."""
        template, loss_fn = self._made(values)
        step = make_train_step(loss_fn)

        def one_step(state: TrainState, rows: Array) -> tuple[TrainState, Metrics]:
            batch = _gathered(data, rows)
            return step(state, _own_matrices(batch, state.step) if self._on_cpu else batch)

        state, metrics = jax.lax.scan(one_step, _like(template, bare), order)
        return _bare(state), metrics

    def _evaluated(self, values: Numbers, bare: TrainState, data: PyTree, order: Array) -> Metrics:
        """Evaluate the rows that each line of `order` lists."""
        template, loss_fn = self._made(values)
        step, state = make_eval_step(self._metrics_fn or loss_fn), evaluated(_like(template, bare))
        return jax.lax.map(lambda rows: step(state, _gathered(data, rows)), order)

    def state(self, values: Mapping[str, Any], bare: TrainState) -> TrainState:
        """A full state from the arrays of one run, `values` its hyper-parameters."""
        return _like(self._made(values).state, bare)

    def _made(self, values: Mapping[str, Any]) -> Start:
        """What the recipe makes, with schedules that know how many steps an epoch has."""
        state, loss_fn = start(self.where, self._recipe, values)
        return Start(counting_epochs(state, self.steps), loss_fn)


def members(where: str, recipe: Recipe, metrics_fn: LossFn | None, devices: Sequence[Any], steps: int) -> Members:
    """The programs of a recipe. Equal calls share them, so the second compiles nothing."""
    can_be_kept = isinstance(recipe, Hashable) and isinstance(metrics_fn, Hashable)
    return (_members if can_be_kept else _members.__wrapped__)(where, recipe, metrics_fn, tuple(devices), steps)


@lru_cache(maxsize=64)
def _members(where: str, recipe: Recipe, metrics_fn: LossFn | None, devices: tuple[Any, ...], steps: int) -> Members:
    return Members(where, recipe, metrics_fn, devices, steps)


def chunks(batches: Batches, epoch: int) -> list[np.ndarray]:
    """The rows of one epoch, (steps, rows of a batch); a smaller last batch comes by itself."""
    order, size = batches.order(epoch).astype(np.int32), batches.batch_size
    whole = len(order) // size
    parts = [order[: whole * size].reshape(whole, size)] if whole else []
    return parts if whole == len(batches) else [*parts, order[None, whole * size :]]


def averages(parts: Sequence[Metrics]) -> dict[str, np.ndarray]:
    """The averages of each run over the steps of each epoch, (members, epochs): sums in float64."""
    on_host = jax.device_get(parts)
    # The dict that a compiled step returns has its keys sorted; a table should begin with the loss.
    names = sorted(on_host[0], key=lambda name: name != "loss")
    return {name: _average(name, [part[name] for part in on_host]) for name in names}


def _average(name: str, parts: Sequence[Average]) -> np.ndarray:
    for shape in (np.shape(parts[0].total), np.shape(parts[0].count)):
        if len(shape) != 3:
            raise ValueError(
                f"metric {name}: expected an Average of two numbers, got one of shape {shape[3:]}; log each number "
                "under a name"
            )
    total = sum(np.sum(part.total, axis=2, dtype=np.float64) for part in parts)
    count = sum(np.sum(part.count, axis=2, dtype=np.float64) for part in parts)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count)


def _bare(state: TrainState) -> TrainState:
    """The arrays of a state alone: its blueprint may hold traced hyper-parameters."""
    return dataclasses.replace(state, blueprint=None)  # pyright: ignore[reportArgumentType] - never used like this


def _like(template: TrainState, bare: TrainState) -> TrainState:
    return dataclasses.replace(bare, blueprint=template.blueprint)


def _gathered(data: PyTree, rows: Array) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.at[rows].get(mode="promise_in_bounds"), data)


def _own_matrices(batch: PyTree, step: Array) -> PyTree:
    """A batch whose matrices are a copy for each run: `step` is a number of each run.

    XLA for CPUs multiplies a matrix that all runs share by all their weights at once, and then transposes the gradients
    of all runs to multiply them by it; products run by run are faster.
    """

    def own(leaf: Array) -> Array:
        is_matrix = leaf.ndim == 2 and jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf + (0 * step).astype(leaf.dtype) if is_matrix else leaf

    return jax.tree.map(own, batch)
