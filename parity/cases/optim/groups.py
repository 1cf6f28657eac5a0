"""Cases of `jaxtrain.optim`: parameter groups, and parameters without a gradient."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import optax
import torch

from jaxtrain import optim
from jaxtrain.regularization import label_parameters
from parity.case import Case
from parity.cases.optim._table import case, special_case
from parity.draws import generator
from parity.references.muon import TorchMuon, muon
from parity.subjects.optimizer import STEPS, Leaf, live_leaves

Parameters = list[torch.Tensor]


def layers() -> dict[str, Leaf]:
    """Two layers of a kernel and a bias."""
    rng = generator(3)
    shapes = {"body/kernel": (3, 4), "body/bias": (4,), "head/kernel": (4, 2)}
    return {name: Leaf(rng.normal(size=s), rng.normal(size=(STEPS, *s))) for name, s in shapes.items()}


class Several(torch.optim.Optimizer):
    """Several optimizers that step together."""

    def __init__(self, *optimizers: torch.optim.Optimizer):
        super().__init__([parameter for o in optimizers for parameter in o.param_groups[0]["params"]], {})
        self.optimizers = optimizers

    def step(self, closure=None):
        for optimizer in self.optimizers:
            optimizer.step(closure)


def muon_and_adamw(for_matrices: str = "kernel$", **options) -> optax.GradientTransformation:
    """The recipe of `optim.muon`, by path."""
    return optax.partition(
        {"muon": muon(axis=0, **options), "adamw": optim.adamw(0.01)},
        lambda params: label_parameters(params, {for_matrices: "muon", None: "adamw"}),
    )


GROUPS = [
    special_case(
        "param_groups",
        "learning rate and decay by group",
        lambda: optim.param_groups(
            optim.sgd, {"bias": {"weight_decay": 0.0}, "^head/": {"lr": 0.1}, None: {}}, lr=0.01, weight_decay=0.1
        ),
        lambda p: torch.optim.SGD(
            [{"params": p[1], "weight_decay": 0.0}, {"params": p[2], "lr": 0.1}, {"params": p[0]}],
            lr=0.01,
            weight_decay=0.1,
        ),
        leaves=layers(),
        states=False,
        defects={
            "one group": partial(optim.sgd, 0.01, weight_decay=0.1),
            "groups swapped": lambda: optim.param_groups(
                optim.sgd, {"bias": {"lr": 0.1}, "^head/": {"weight_decay": 0.0}, None: {}}, lr=0.01, weight_decay=0.1
            ),
            "learning rates multiplied": lambda: optim.param_groups(
                optim.sgd, {"bias": {"weight_decay": 0.0}, "^head/": {"lr": 0.001}, None: {}}, lr=0.01, weight_decay=0.1
            ),
        },
    ),
    special_case(
        "param_groups",
        "Muon on matrices, AdamW on the rest",
        muon_and_adamw,
        lambda p: Several(TorchMuon([p[0], p[2]]), torch.optim.AdamW([p[1]], 0.01)),
        leaves=layers(),
        states=False,
        defects={
            "AdamW on the head": partial(muon_and_adamw, "^body/kernel$"),
            "Muon without decay": partial(muon_and_adamw, weight_decay=0.0),
        },
    ),
]


def skipping(start: int, stop: int) -> dict[str, Leaf]:
    """The usual leaves, of which the matrix has no gradient from `start` to before `stop`."""
    leaves = live_leaves()
    return leaves | {"rows": replace(leaves["rows"], present=lambda step: not start <= step < stop)}


def skipping_case(optimizer: Callable[..., optax.GradientTransformation], **arguments: float) -> Case:
    """The parameter neither moves nor decays, its moments stand still, and its own count goes on where it stopped."""
    return case(
        optimizer,
        **arguments,
        configuration="steps without a gradient",
        leaves=skipping(100, 130),
        defects={"a gradient of zero": lambda: zeros_for_none(optimizer(**arguments))},
    )


def zeros_for_none(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    def update(gradients, state, params):
        filled = {name: 0 * params[name] if gradient is None else gradient for name, gradient in gradients.items()}
        return optimizer.update(filled, state, params)

    return optax.GradientTransformation(optimizer.init, update)


SKIPPING = [
    skipping_case(optim.adamw),
    skipping_case(optim.nadam),
    skipping_case(optim.asgd, t0=50.0),
    special_case(
        "rprop",
        "no gradient at first, schedule",
        partial(optim.rprop, lambda count: 0.01 * 0.9 ** count.astype(float)),
        lambda p: torch.optim.Rprop(p, 0.01),
        scheduler=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
        leaves=skipping(0, 3),
        states=False,
        defects={"first step size of the first step": partial(optim.rprop, 0.01)},
    ),
]

CASES: list[Case] = [*GROUPS, *SKIPPING]
