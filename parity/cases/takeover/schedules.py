"""Cases of `jaxtrain.interop`: every scheduler, and compositions, half in one framework and half in the other."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from torch.optim import Optimizer, swa_utils
from torch.optim import lr_scheduler as lrs

from jaxtrain import schedules
from parity.case import Case
from parity.subjects.takeover import DIRECTIONS, Framework
from parity.subjects.takeover_schedule import (
    HANDOVER,
    PlateauTakeoverCase,
    Read,
    ScheduleTakeoverCase,
    give_plateau,
    give_schedule,
    load_plateau,
    load_schedule,
    read_momentum,
    read_rate,
)

STEPS = 2 * HANDOVER
Make = Callable[[Optimizer], Any]


def falling(count: Any) -> Any:
    return 1 / (1 + count / 10)


def nearly_one(count: Any) -> Any:
    return 1 - 0.5 / (count + 2)


def flat(optimizer: Optimizer) -> lrs.SequentialLR:
    parts = [lrs.LinearLR(optimizer, 0.1, total_iters=8), lrs.CosineAnnealingLR(optimizer, 25)]
    return lrs.SequentialLR(optimizer, [*parts, lrs.ExponentialLR(optimizer, 0.9)], [8, 35])


def chained(optimizer: Optimizer) -> lrs.ChainedScheduler:
    return lrs.ChainedScheduler([lrs.ConstantLR(optimizer, 0.1, 30), lrs.ExponentialLR(optimizer, 0.9)])


ONE_CYCLE = partial(lrs.OneCycleLR, max_lr=1.0, total_steps=STEPS + 1, pct_start=0.4)
CYCLE = partial(lrs.CyclicLR, base_lr=0.1, max_lr=1.0, step_size_up=5, step_size_down=8)

SCHEDULERS: dict[str, Make] = {
    "StepLR": partial(lrs.StepLR, step_size=7, gamma=0.5),
    "MultiStepLR": partial(lrs.MultiStepLR, milestones=[3, 9, 9, 30], gamma=0.5),
    "ConstantLR": partial(lrs.ConstantLR, factor=0.25, total_iters=30),
    "LinearLR": partial(lrs.LinearLR, start_factor=0.1, end_factor=0.9, total_iters=32),
    "ExponentialLR": partial(lrs.ExponentialLR, gamma=0.9),
    "PolynomialLR": partial(lrs.PolynomialLR, total_iters=40, power=1.5),
    "CosineAnnealingLR": partial(lrs.CosineAnnealingLR, T_max=30, eta_min=0.01),
    "CosineAnnealingWarmRestarts": partial(lrs.CosineAnnealingWarmRestarts, T_0=4, T_mult=2, eta_min=0.01),
    "OneCycleLR": ONE_CYCLE,
    "OneCycleLR, linear, three phases": partial(ONE_CYCLE, anneal_strategy="linear", three_phase=True),
    "CyclicLR": CYCLE,
    "CyclicLR, triangular2": partial(CYCLE, mode="triangular2"),
    "CyclicLR, exp_range": partial(CYCLE, mode="exp_range", gamma=0.95),
    "SWALR": partial(swa_utils.SWALR, swa_lr=0.01, anneal_epochs=30),
    "SequentialLR": flat,
    "ChainedScheduler": chained,
}
"""By what distinguishes them. `MultiplicativeLR` and `LambdaLR` follow, as their functions are not saved."""

FUNCTIONS: dict[str, tuple[Make, schedules.Schedule]] = {
    "LambdaLR": (partial(lrs.LambdaLR, lr_lambda=falling), schedules.lambda_lr(0.1, falling)),
    "MultiplicativeLR": (
        partial(lrs.MultiplicativeLR, lr_lambda=nearly_one),
        schedules.multiplicative_lr(0.1, nearly_one),
    ),
}
"""Schedulers with a Python function, and ours with the same one."""


def early_load(saved: Any, schedule: schedules.Schedule) -> int:
    """A step too few."""
    return load_schedule(saved, schedule) - 1


def forgetful_load(saved: Any, schedule: schedules.Schedule) -> int:
    """The schedule starts again."""
    return load_schedule(saved, schedule) - HANDOVER


def early_give(count: int, *others: Any) -> Any:
    """A step too few."""
    return give_schedule(count - 1, *others)


def forgetful_give(count: int, like: Any, *others: Any) -> Any:
    """The schedule starts again."""
    return like


def case(configuration: str, reference: Make, begins: Framework, schedule: Read = read_rate, key: str = "lr") -> Case:
    is_load = begins == "torch"
    return ScheduleTakeoverCase(
        component="interop.load_scheduler" if is_load else "interop.scheduler_state_dict",
        configuration=f"{DIRECTIONS[begins]}, {configuration}" + (f", {key}" if key != "lr" else ""),
        ours=load_schedule if is_load else give_schedule,
        reference=reference,
        begins=begins,
        schedule=schedule,
        key=key,
        read=lambda group: group[key],
        defects={
            "a step too few": early_load if is_load else early_give,
            "starts again": forgetful_load if is_load else forgetful_give,
        },
    )


def with_function(configuration: str, begins: Framework) -> Case:
    reference, own = FUNCTIONS[configuration]
    return case(configuration, reference, begins, lambda saved, optimizer: own)


def metrics() -> np.ndarray:
    """A metric that falls every tenth epoch: at the change, some bad epochs have passed."""
    return (1 / (1 + np.arange(STEPS) // 10)).astype(np.float32)


def impatient_load(saved: Any) -> Any:
    """Forgets the bad epochs before the change."""
    rule, state = load_plateau(saved)
    return rule, state._replace(num_bad_epochs=state.num_bad_epochs * 0)


def optimistic_load(saved: Any) -> Any:
    """Forgets the best metric."""
    rule, state = load_plateau(saved)
    return rule, state._replace(best=rule.init().best)


def impatient_give(state: Any, like: Any) -> Any:
    """Forgets the bad epochs before the change."""
    return give_plateau(state._replace(num_bad_epochs=state.num_bad_epochs * 0), like)


def optimistic_give(state: Any, like: Any) -> Any:
    """Forgets the best metric."""
    return {**give_plateau(state, like), "best": like["best"]}


def plateau(begins: Framework) -> Case:
    is_load = begins == "torch"
    return PlateauTakeoverCase(
        component="interop.load_scheduler" if is_load else "interop.scheduler_state_dict",
        configuration=f"{DIRECTIONS[begins]}, ReduceLROnPlateau",
        ours=load_plateau if is_load else give_plateau,
        reference=partial(lrs.ReduceLROnPlateau, factor=0.5, patience=3, cooldown=1),
        metrics=metrics(),
        begins=begins,
        defects={
            "bad epochs are forgotten": impatient_load if is_load else impatient_give,
            "the best is forgotten": optimistic_load if is_load else optimistic_give,
        },
    )


CASES: list[Case] = [
    found
    for begins in DIRECTIONS
    for found in (
        *(case(name, make, begins) for name, make in SCHEDULERS.items()),
        *(with_function(name, begins) for name in FUNCTIONS),
        case("OneCycleLR", ONE_CYCLE, begins, read_momentum, "momentum"),
        case("CyclicLR", CYCLE, begins, read_momentum, "momentum"),
        plateau(begins),
    )
]
