"""Cases of `jaxtrain.optim`: the optimizers."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import optax
import torch
from torch.optim import lr_scheduler

from jaxtrain import optim
from parity.case import Case
from parity.kinds.optimizer import OptimizerCase

Factory = Callable[[], optax.GradientTransformation]


def case(component: str, configuration: str, ours: Factory, reference: Callable, **options) -> Case:
    return OptimizerCase(
        component=f"optim.{component}", configuration=configuration, ours=ours, reference=reference, **options
    )


def halving(count):
    """A schedule that both sides know: half the rate every hundred steps."""
    return 0.01 * 0.5 ** (count // 100)


def torch_halving(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    return lr_scheduler.StepLR(optimizer, 100, 0.5)


def decoupled_instead_of_l2(optimizer: Factory, weight_decay: float, lr: float) -> Factory:
    return lambda: optax.chain(optimizer(), optax.add_decayed_weights(-lr * weight_decay))


def float32_bias_corrections() -> optax.GradientTransformation:
    return optax.adam(1e-3)


def epsilon_in_root() -> optax.GradientTransformation:
    return optax.chain(optax.scale_by_adam(eps=0.0, eps_root=1e-8), optax.scale(-1e-3))


SGD = [
    case(
        "sgd",
        "defaults",
        optim.sgd,
        lambda p: torch.optim.SGD(p),
        defects={
            "ascends": partial(optim.sgd, maximize=True),
            "lr of the previous default": partial(optim.sgd, 1e-2),
        },
    ),
    case(
        "sgd",
        "momentum",
        partial(optim.sgd, 0.01, momentum=0.9),
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9),
        defects={
            "no momentum": partial(optim.sgd, 0.01),
            "averages instead of sums": lambda: optax.chain(optax.ema(0.9, debias=False), optax.scale(-0.01)),
            "nesterov on": partial(optim.sgd, 0.01, momentum=0.9, nesterov=True),
        },
    ),
    case(
        "sgd",
        "momentum, dampening, weight decay",
        partial(optim.sgd, 0.01, momentum=0.9, dampening=0.5, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, dampening=0.5, weight_decay=0.1),
        defects={
            "no dampening": partial(optim.sgd, 0.01, momentum=0.9, weight_decay=0.1),
            "first step dampened": lambda: optax.chain(
                optax.add_decayed_weights(0.1), optax.scale(0.5), optax.trace(0.9), optax.scale(-0.01)
            ),
            "decay decoupled": decoupled_instead_of_l2(
                partial(optim.sgd, 0.01, momentum=0.9, dampening=0.5), 0.1, 0.01
            ),
        },
    ),
    case(
        "sgd",
        "nesterov, weight decay, maximize",
        partial(optim.sgd, 0.01, momentum=0.9, weight_decay=0.1, nesterov=True, maximize=True),
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, weight_decay=0.1, nesterov=True, maximize=True),
        defects={
            "nesterov off": partial(optim.sgd, 0.01, momentum=0.9, weight_decay=0.1, maximize=True),
            "decay negated with the gradient": lambda: optax.chain(
                optax.add_decayed_weights(0.1), optax.sgd(-0.01, momentum=0.9, nesterov=True)
            ),
        },
    ),
    case(
        "sgd",
        "schedule, momentum",
        partial(optim.sgd, halving, momentum=0.9),
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9),
        scheduler=torch_halving,
        defects={
            "schedule one step late": partial(
                optim.sgd, lambda count: halving(jnp.maximum(count - 1, 0)), momentum=0.9
            ),
            "schedule one step early": partial(optim.sgd, lambda count: halving(count + 1), momentum=0.9),
            "lr before the momentum": lambda: optax.chain(optax.scale_by_learning_rate(halving), optax.trace(0.9)),
        },
    ),
]

ADAM = [
    case(
        "adam",
        "defaults",
        optim.adam,
        lambda p: torch.optim.Adam(p),
        defects={
            "bias corrections in float32": float32_bias_corrections,
            "eps in the root": epsilon_in_root,
            "no bias correction": lambda: optax.chain(optax.scale_by_rms(0.999, eps_in_sqrt=False), optax.scale(-1e-3)),
        },
    ),
    case(
        "adam",
        "betas=(0.8, 0.99999)",
        partial(optim.adam, 0.01, (0.8, 0.99999), 1e-6),
        lambda p: torch.optim.Adam(p, 0.01, (0.8, 0.99999), 1e-6),
        defects={
            "bias corrections in float32": lambda: optax.adam(0.01, 0.8, 0.99999, 1e-6),
            "betas swapped": partial(optim.adam, 0.01, (0.99999, 0.8), 1e-6),
        },
    ),
    case(
        "adam",
        "weight decay",
        partial(optim.adam, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, weight_decay=0.1),
        defects={
            "decay decoupled": partial(optim.adamw, weight_decay=0.1),
            "decay after the moments": lambda: optax.chain(
                optax.scale_by_adam(), optax.add_decayed_weights(0.1), optax.scale(-1e-3)
            ),
        },
    ),
    case(
        "adam",
        "amsgrad, weight decay, maximize",
        partial(optim.adam, amsgrad=True, weight_decay=0.1, maximize=True),
        lambda p: torch.optim.Adam(p, amsgrad=True, weight_decay=0.1, maximize=True),
        defects={
            "maximum after the bias correction": lambda: optax.chain(
                optax.scale(-1.0), optax.add_decayed_weights(0.1), optax.amsgrad(1e-3)
            ),
            "amsgrad off": partial(optim.adam, weight_decay=0.1, maximize=True),
            "minimizes": partial(optim.adam, amsgrad=True, weight_decay=0.1),
        },
    ),
    case(
        "adam",
        "schedule",
        partial(optim.adam, halving),
        lambda p: torch.optim.Adam(p, 0.01),
        scheduler=torch_halving,
        defects={
            "schedule one step early": partial(optim.adam, lambda count: halving(count + 1)),
            "schedule ignored": partial(optim.adam, 0.01),
        },
    ),
]

ADAMW = [
    case(
        "adamw",
        "defaults",
        optim.adamw,
        lambda p: torch.optim.AdamW(p),
        defects={
            "the decay of optax, 1e-4": lambda: optax.adamw(1e-3),
            "decay in the gradient": partial(optim.adam, weight_decay=1e-2),
            "no decay": optim.adam,
        },
    ),
    case(
        "adamw",
        "amsgrad, weight decay, maximize",
        partial(optim.adamw, 0.01, weight_decay=0.3, amsgrad=True, maximize=True),
        lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.3, amsgrad=True, maximize=True),
        defects={
            "decay negated with the gradient": lambda: optax.chain(
                optim.adamw(0.01, weight_decay=0.3, amsgrad=True), optax.scale(-1.0)
            ),
            "amsgrad off": partial(optim.adamw, 0.01, weight_decay=0.3, maximize=True),
        },
    ),
    case(
        "adamw",
        "schedule",
        partial(optim.adamw, halving, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
        scheduler=torch_halving,
        defects={
            "decay not scheduled": lambda: optax.chain(optim.adam(halving), optax.add_decayed_weights(-0.001)),
        },
    ),
]

RMSPROP = [
    case(
        "rmsprop",
        "defaults",
        optim.rmsprop,
        lambda p: torch.optim.RMSprop(p),
        defects={
            "eps in the root": lambda: optax.rmsprop(1e-2, 0.99, 1e-8),
            "the decay of optax, 0.9": lambda: optax.rmsprop(1e-2, eps_in_sqrt=False),
            "starts at one": lambda: optax.rmsprop(1e-2, 0.99, 1e-8, initial_scale=1.0, eps_in_sqrt=False),
        },
    ),
    case(
        "rmsprop",
        "centered, weight decay",
        partial(optim.rmsprop, alpha=0.9, eps=1e-4, weight_decay=0.1, centered=True),
        lambda p: torch.optim.RMSprop(p, alpha=0.9, eps=1e-4, weight_decay=0.1, centered=True),
        defects={
            "not centered": partial(optim.rmsprop, alpha=0.9, eps=1e-4, weight_decay=0.1),
            "decay decoupled": decoupled_instead_of_l2(
                partial(optim.rmsprop, alpha=0.9, eps=1e-4, centered=True), 0.1, 0.01
            ),
        },
    ),
    case(
        "rmsprop",
        "centered, momentum, maximize",
        partial(optim.rmsprop, momentum=0.9, centered=True, maximize=True),
        lambda p: torch.optim.RMSprop(p, momentum=0.9, centered=True, maximize=True),
        defects={
            "no momentum": partial(optim.rmsprop, centered=True, maximize=True),
            "nesterov": lambda: optax.chain(
                optax.scale(-1.0),
                optax.rmsprop(1e-2, 0.99, 1e-8, eps_in_sqrt=False, centered=True, momentum=0.9, nesterov=True),
            ),
        },
    ),
    case(
        "rmsprop",
        "schedule, momentum",
        partial(optim.rmsprop, halving, momentum=0.9),
        lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.9),
        scheduler=torch_halving,
        defects={
            "lr before the momentum": lambda: optax.rmsprop(halving, 0.99, 1e-8, eps_in_sqrt=False, momentum=0.9),
        },
    ),
]

CASES: list[Case] = [*SGD, *ADAM, *ADAMW, *RMSPROP]
