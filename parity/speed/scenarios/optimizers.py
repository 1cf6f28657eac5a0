"""One step of each optimizer and Optax's: the update and its addition to the parameters."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain import optim, schedules
from parity.speed.scenario import Program, Scenario
from parity.speed.scenarios._parameters import Arrays, matrices, mixed, tables

Optimizer = optax.GradientTransformation


def scenarios(parameters: Sequence[int]) -> list[Scenario]:
    """Every row, at each number of parameters."""
    return [
        Scenario(
            f"optim.{row.component}",
            row.configuration,
            row.counterpart,
            partial(_ours, row, count),
            partial(_theirs, row, count),
            count,
        )
        for row in ROWS
        for count in parameters
        if count <= row.most
    ]


class Row(NamedTuple):
    """An optimizer and its counterpart.

    Attributes:
        component: ours.
        configuration: arguments that matter.
        counterpart: Optax's, or the nearest if it has none.
        ours: makes ours.
        theirs: makes the counterpart's.
        leaves: makes so many parameters and their gradients.
        their_gradients: what the counterpart is given in place of our gradients.
        most: the largest number of parameters at which both are compiled in a few minutes.
    """

    component: str
    configuration: str
    counterpart: str
    ours: Callable[[], Optimizer]
    theirs: Callable[[], Optimizer]
    leaves: Callable[[int], tuple[Arrays, Any]] = mixed
    their_gradients: Callable[[Arrays, Any], Arrays] = lambda params, gradients: gradients
    most: int = sys.maxsize


def _ours(row: Row, count: int) -> Program:
    optimizer = row.ours()
    params, gradients = row.leaves(count)
    extra = {"value_fn": _objective} if row.component == "lbfgs" else {}

    def step(params: Arrays, state: Any, gradients: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(gradients, state, params, **extra)
        return optax.apply_updates(params, updates), state

    return Program(step, (params, optimizer.init(params), gradients))


def _theirs(row: Row, count: int) -> Program:
    optimizer = row.theirs()
    params, gradients = row.leaves(count)

    def step(params: Arrays, state: Any, gradients: Any) -> tuple[Any, Any]:
        gradients = row.their_gradients(params, gradients)
        extra: dict[str, Any] = {}
        if row.component == "lbfgs":
            extra = {"value": _objective(params), "grad": gradients, "value_fn": _objective}
        updates, state = optimizer.update(gradients, state, params, **extra)
        return optax.apply_updates(params, updates), state

    return Program(step, (params, optimizer.init(params), gradients))


def _objective(params: Arrays) -> jax.Array:
    """What L-BFGS, which calls its objective, minimizes."""
    return jnp.sum(jnp.stack([jnp.sum(leaf**2 + jnp.cos(leaf)) for leaf in jax.tree.leaves(params)]))


def _averaged_sgd() -> Optimizer:
    """Decay, descent and an average of the parameters: what ASGD does, from Optax's parts."""
    descent = optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(1e-2))

    def init(params: optax.Params) -> Any:
        return descent.init(params), params, jnp.zeros((), jnp.int32)

    def update(updates: optax.Updates, state: Any, params: Any = None) -> tuple[optax.Updates, Any]:
        inner, average, count = state
        updates, inner = descent.update(updates, inner, params)
        moved = optax.apply_updates(params, updates)
        average = optax.incremental_update(moved, average, 1 / (count + 1))
        return updates, (inner, average, count + 1)

    return optax.GradientTransformation(init, update)


def _scattered(params: Arrays, rows: dict[str, optim.SparseRows]) -> Arrays:
    """Gradients of single rows as arrays of the tables' shapes."""
    return {name: jnp.zeros_like(params[name]).at[row.indices].add(row.values) for name, row in rows.items()}


def _groups(params: Any) -> dict[str, str]:
    return {name: "bias" if name.endswith("bias") else "rest" for name in params}


def _cosine() -> Callable[..., Any]:
    return schedules.cosine_annealing_lr(1e-3, T_max=1000)


ROWS = [
    Row("adadelta", "", "optax.adadelta", optim.adadelta, lambda: optax.adadelta(1.0, eps=1e-6)),
    Row(
        "adafactor",
        "",
        "optax.adafactor",
        optim.adafactor,
        lambda: optax.adafactor(1e-2, min_dim_size_to_factor=64),
    ),
    Row(
        "adagrad",
        "",
        "optax.adagrad",
        optim.adagrad,
        lambda: optax.adagrad(1e-2, initial_accumulator_value=0.0, eps=1e-10),
    ),
    Row("adam", "", "optax.adam", optim.adam, lambda: optax.adam(1e-3)),
    Row("adam", "amsgrad", "optax.amsgrad", lambda: optim.adam(amsgrad=True), lambda: optax.amsgrad(1e-3)),
    Row("adamw", "", "optax.adamw", optim.adamw, lambda: optax.adamw(1e-3, weight_decay=1e-2)),
    Row(
        "adamw",
        "cosine schedule",
        "optax.adamw, cosine schedule",
        lambda: optim.adamw(_cosine()),
        lambda: optax.adamw(optax.cosine_decay_schedule(1e-3, 1000), weight_decay=1e-2),
    ),
    Row("adamax", "", "optax.adamax", optim.adamax, lambda: optax.adamax(2e-3)),
    Row("asgd", "", "optax.sgd, decayed, and optax.incremental_update", optim.asgd, _averaged_sgd),
    Row(
        "lbfgs",
        "max_iter=1, strong Wolfe, history of 10",
        "optax.lbfgs",
        lambda: optim.lbfgs(max_iter=1, history_size=10, line_search_fn="strong_wolfe"),
        lambda: optax.lbfgs(memory_size=10),
        most=200,  # At 800 the counterpart's program has 162,217 operations, ours 25,378.
    ),
    Row(
        "muon",
        "matrices",
        "optax.contrib.muon",
        optim.muon,
        lambda: optax.contrib.muon(1e-3, weight_decay=0.1),
        matrices,
    ),
    Row("nadam", "", "optax.nadam", optim.nadam, lambda: optax.nadam(2e-3)),
    Row("radam", "", "optax.radam", optim.radam, lambda: optax.radam(1e-3)),
    Row(
        "rmsprop",
        "",
        "optax.rmsprop",
        optim.rmsprop,
        lambda: optax.rmsprop(1e-2, decay=0.99, eps_in_sqrt=False),
    ),
    Row(
        "rmsprop",
        "momentum, centered",
        "optax.rmsprop, the same",
        lambda: optim.rmsprop(momentum=0.9, centered=True),
        lambda: optax.rmsprop(1e-2, decay=0.99, eps_in_sqrt=False, momentum=0.9, centered=True),
    ),
    Row("rprop", "", "optax.rprop", optim.rprop, lambda: optax.rprop(1e-2)),
    Row("sgd", "", "optax.sgd", optim.sgd, lambda: optax.sgd(1e-3)),
    Row(
        "sgd",
        "the rate in its state",
        "optax.inject_hyperparams, optax.sgd",
        optim.sgd,
        lambda: optax.inject_hyperparams(optax.sgd)(1e-3),
    ),
    Row(
        "sgd",
        "momentum",
        "optax.sgd, momentum",
        lambda: optim.sgd(momentum=0.9),
        lambda: optax.sgd(1e-3, momentum=0.9),
    ),
    Row(
        "sgd",
        "nesterov, weight decay",
        "optax.add_decayed_weights, optax.sgd, nesterov",
        lambda: optim.sgd(momentum=0.9, nesterov=True, weight_decay=1e-4),
        lambda: optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(1e-3, momentum=0.9, nesterov=True)),
    ),
    Row(
        "sparse_adam",
        "32 of 256 rows",
        "optax.adam, rows added into an array",
        optim.sparse_adam,
        lambda: optax.adam(1e-3),
        tables,
        _scattered,
    ),
    Row(
        "param_groups",
        "adamw, two groups",
        "optax.partition, optax.adamw",
        lambda: optim.param_groups(optim.adamw, {"bias$": {"weight_decay": 0.0}, None: {}}),
        lambda: optax.partition(
            {"bias": optax.adamw(1e-3, weight_decay=0.0), "rest": optax.adamw(1e-3, weight_decay=1e-2)}, _groups
        ),
    ),
    Row(
        "clip_grad_norm",
        "sgd",
        "optax.clip_by_global_norm, optax.sgd",
        lambda: optax.chain(optim.clip_grad_norm(1.0), optim.sgd()),
        lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1e-3)),
    ),
    Row(
        "clip_grad_value",
        "sgd",
        "optax.clip, optax.sgd",
        lambda: optax.chain(optim.clip_grad_value(0.5), optim.sgd()),
        lambda: optax.chain(optax.clip(0.5), optax.sgd(1e-3)),
    ),
]
