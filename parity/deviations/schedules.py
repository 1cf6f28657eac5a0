"""Intentional deviations of schedules."""

from collections.abc import Callable

import torch
from torch.optim import lr_scheduler

from jaxtrain import schedules
from parity.deviations.deviation import Deviation

Scheduler = Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]


def torch_rate(scheduler: Scheduler, steps: int) -> float:
    """The rate after some steps, 0.1 at first."""
    optimizer = torch.optim.SGD([torch.zeros((), requires_grad=True)], lr=0.1)
    stepping = scheduler(optimizer)
    optimizer.step()
    for _ in range(steps):
        stepping.step()
    return optimizer.param_groups[0]["lr"]


def torch_warm_restart(epoch: int) -> float:
    optimizer = torch.optim.SGD([torch.zeros((), requires_grad=True)], lr=0.1)
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=1, T_mult=3)
    optimizer.step()
    scheduler.step(epoch)
    return optimizer.param_groups[0]["lr"]


DEVIATIONS: list[Deviation] = [
    Deviation(
        "schedules.cosine_annealing_warm_restarts",
        "`T_0=1, T_mult=3`, epoch 121, which is a restart",
        "PyTorch's `step(epoch)` rounds an integer logarithm down",
        lambda: schedules.cosine_annealing_warm_restarts(0.1, T_0=1, T_mult=3)(121),
        lambda: torch_warm_restart(121),
    ),
    Deviation(
        "schedules.cyclic_lr",
        "`triangular2` in its 1,031st cycle",
        "PyTorch's power of two overflows after 1,024",
        lambda: schedules.cyclic_lr(0.01, 0.1, step_size_up=1, mode="triangular2")(2060),
        lambda: torch_rate(
            lambda optimizer: lr_scheduler.CyclicLR(
                optimizer, 0.01, 0.1, step_size_up=1, mode="triangular2", cycle_momentum=False
            ),
            2060,
        ),
    ),
    Deviation(
        "schedules.constant_lr",
        "a factor of 0, once it ends",
        "PyTorch divides by the factor",
        lambda: schedules.constant_lr(0.1, factor=0.0, total_iters=5)(5),
        lambda: torch_rate(lambda optimizer: lr_scheduler.ConstantLR(optimizer, 0.0, 5), 5),
    ),
]
