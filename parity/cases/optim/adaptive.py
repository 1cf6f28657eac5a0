"""Cases of `jaxtrain.optim`: Adagrad, Adadelta, RMSprop and Rprop, which scale each element by its own gradients."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax
import torch
from torch.optim import lr_scheduler

from jaxtrain import optim
from parity.case import Case
from parity.cases.optim._table import case, decoupled_instead_of_l2, halving, special_case

ADAGRAD = [
    case(
        optim.adagrad,
        defects={
            "optax": lambda: optax.adagrad(1e-2),
            "eps in the root": lambda: optax.adagrad(1e-2, 0.0, 1e-10),
            "decaying average": partial(optim.rmsprop, eps=1e-10),
        },
    ),
    case(
        optim.adagrad,
        0.1,
        lr_decay=0.5,
        weight_decay=0.1,
        defects={
            "lr decays from the first step": partial(
                optim.adagrad, lambda count: 0.1 / (1 + 0.5 * (count + 1)), weight_decay=0.1
            ),
            "lr decays exponentially": partial(optim.adagrad, lambda count: 0.1 * 0.5**count, weight_decay=0.1),
            "decay decoupled": decoupled_instead_of_l2(partial(optim.adagrad, 0.1, lr_decay=0.5), 0.1, 0.1),
        },
    ),
    case(
        optim.adagrad,
        initial_accumulator_value=0.1,
        maximize=True,
        defects={
            "starts at zero": partial(optim.adagrad, maximize=True),
            "starts at the root": partial(optim.adagrad, initial_accumulator_value=0.1**0.5, maximize=True),
            "minimizes": partial(optim.adagrad, initial_accumulator_value=0.1),
        },
    ),
    case(
        optim.adagrad,
        weight_decay=0.1,
        precision="bfloat16",
        defects={"no decay": optim.adagrad},
    ),
]

ADADELTA = [
    case(
        optim.adadelta,
        defects={
            "eps outside the root": lambda: _adadelta_with_epsilon_outside(),
            "eps of 1e-8": partial(optim.adadelta, eps=1e-8),
            "the learning rate of others": partial(optim.adadelta, 1e-3),
        },
    ),
    case(
        optim.adadelta,
        0.3,
        rho=0.95,
        weight_decay=0.9,
        maximize=True,
        defects={
            "decay negated with the gradient": lambda: optax.chain(
                optim.adadelta(0.3, 0.95, weight_decay=0.9), optax.scale(-1.0)
            ),
            "the rho of before": partial(optim.adadelta, 0.3, weight_decay=0.9, maximize=True),
        },
    ),
    case(
        optim.adadelta,
        halving,
        defects={
            "lr in the mean of steps": lambda: optax.chain(
                optax.scale_by_learning_rate(halving, flip_sign=False), optim.adadelta()
            ),
            "schedule one step early": partial(optim.adadelta, lambda count: halving(count + 1)),
        },
    ),
]

RMSPROP = [
    case(
        optim.rmsprop,
        defects={
            "eps in the root": lambda: optax.rmsprop(1e-2, 0.99, 1e-8),
            "the decay of optax, 0.9": lambda: optax.rmsprop(1e-2, eps_in_sqrt=False),
            "starts at one": lambda: optax.rmsprop(1e-2, 0.99, 1e-8, initial_scale=1.0, eps_in_sqrt=False),
        },
    ),
    case(
        optim.rmsprop,
        alpha=0.9,
        eps=1e-4,
        weight_decay=0.1,
        centered=True,
        defects={
            "not centered": partial(optim.rmsprop, alpha=0.9, eps=1e-4, weight_decay=0.1),
            "decay decoupled": decoupled_instead_of_l2(
                partial(optim.rmsprop, alpha=0.9, eps=1e-4, centered=True), 0.1, 0.01
            ),
        },
    ),
    case(
        optim.rmsprop,
        momentum=0.9,
        centered=True,
        maximize=True,
        defects={
            "no momentum": partial(optim.rmsprop, centered=True, maximize=True),
            "nesterov": lambda: optax.chain(
                optax.scale(-1.0),
                optax.rmsprop(1e-2, 0.99, 1e-8, eps_in_sqrt=False, centered=True, momentum=0.9, nesterov=True),
            ),
        },
    ),
    case(
        optim.rmsprop,
        halving,
        momentum=0.9,
        defects={
            "lr before the momentum": lambda: optax.rmsprop(halving, 0.99, 1e-8, eps_in_sqrt=False, momentum=0.9),
        },
    ),
]

RPROP = [
    case(
        optim.rprop,
        defects={
            "optax": lambda: optax.rprop(1e-2),
            "signs alone": lambda: optax.sign_sgd(1e-2),
            "moves after a change of sign": lambda: _rprop_without_rest(),
        },
    ),
    case(
        optim.rprop,
        0.05,
        (0.4, 1.5),
        (1e-3, 0.1),
        maximize=True,
        defects={
            "minimizes": partial(optim.rprop, 0.05, (0.4, 1.5), (1e-3, 0.1)),
            "no limits": partial(optim.rprop, 0.05, (0.4, 1.5), maximize=True),
            "the etas of before": partial(optim.rprop, 0.05, step_sizes=(1e-3, 0.1), maximize=True),
        },
    ),
    case(
        optim.rprop,
        100.0,
        configuration="a first step size over the limit",
        defects={"first step not limited": lambda: _rprop_with_free_first_step(100.0)},
    ),
    special_case(
        "rprop",
        "schedule",
        partial(optim.rprop, lambda count: 0.01 * 0.5 ** count.astype(float)),
        lambda p: torch.optim.Rprop(p, 0.01),
        scheduler=lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.5),
        defects={"the schedule scales the steps": lambda: _rprop_with_scaled_steps(lambda count: 0.5**count)},
    ),
    case(
        optim.rprop,
        precision="bfloat16",
        defects={"optax": lambda: optax.rprop(1e-2)},
    ),
]


def _adadelta_with_epsilon_outside(rho: float = 0.9, eps: float = 1e-6) -> optax.GradientTransformation:
    def update(gradients, state, params=None):
        square_avg = jax.tree.map(lambda v, g: rho * v + (1 - rho) * g * g, state[0], gradients)
        delta = jax.tree.map(
            lambda u, v, g: (jnp.sqrt(u) + eps) / (jnp.sqrt(v) + eps) * g, state[1], square_avg, gradients
        )
        acc_delta = jax.tree.map(lambda u, d: rho * u + (1 - rho) * d * d, state[1], delta)
        return jax.tree.map(jnp.negative, delta), (square_avg, acc_delta)

    return optax.GradientTransformation(lambda p: (jax.tree.map(jnp.zeros_like, p),) * 2, update)


def _rprop_without_rest() -> optax.GradientTransformation:
    """Rprop in which an element moves on after a change of sign, by its smaller step."""
    optimizer = optim.rprop()

    def update(gradients, state, params=None):
        _, state = optimizer.update(gradients, state, params)
        updates = jax.tree.map(lambda g, size: -jnp.sign(g) * size, gradients, state.step_size)
        return updates, state

    return optax.GradientTransformation(optimizer.init, update)


def _rprop_with_free_first_step(lr: float) -> optax.GradientTransformation:
    optimizer = optim.rprop(lr)

    def update(gradients, state, params=None):
        free = jax.tree.map(lambda g: -lr * jnp.sign(g), gradients)
        updates, new = optimizer.update(gradients, state, params)
        return jax.tree.map(lambda a, b: jnp.where(state.count == 0, a, b), free, updates), new

    return optax.GradientTransformation(optimizer.init, update)


def _rprop_with_scaled_steps(schedule: Callable[[jax.Array], jax.Array]) -> optax.GradientTransformation:
    optimizer = optim.rprop()

    def update(gradients, state, params=None):
        updates, new = optimizer.update(gradients, state, params)
        return jax.tree.map(lambda u: u * schedule(state.count), updates), new

    return optax.GradientTransformation(optimizer.init, update)


CASES: list[Case] = [*ADAGRAD, *ADADELTA, *RMSPROP, *RPROP]
