"""What the tables of this package share."""

from collections.abc import Callable

import optax
import torch
from torch.optim import lr_scheduler

from parity.case import Case
from parity.subjects.optimizer import OptimizerCase

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
