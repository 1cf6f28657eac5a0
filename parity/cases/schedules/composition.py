"""Cases of `jaxtrain.schedules`: one after the other, several at once, and steps of epochs."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import optax
from torch.optim import Optimizer, lr_scheduler, swa_utils

from jaxtrain import schedules
from parity.case import Case
from parity.cases.schedules._table import Reference, case

Make = Callable[[Optimizer], Any]


class EveryEpoch:
    """Passes on only each `steps_per_epoch`-th step to a scheduler."""

    def __init__(self, scheduler: Any, steps_per_epoch: int) -> None:
        self.scheduler, self.steps_per_epoch, self.steps = scheduler, steps_per_epoch, 0

    def step(self) -> None:
        self.steps += 1
        if self.steps % self.steps_per_epoch == 0:
            self.scheduler.step()


class FractionalEpochs(EveryEpoch):
    """Passes on every step as a fraction of an epoch."""

    def step(self) -> None:
        self.steps += 1
        epoch, i = divmod(self.steps, self.steps_per_epoch)
        self.scheduler.step(epoch + i / self.steps_per_epoch)


def one_after_the_other(makes: Sequence[Make], milestones: list[int]) -> Reference:
    return lambda optimizer: lr_scheduler.SequentialLR(optimizer, [make(optimizer) for make in makes], milestones)


def at_once(*makes: Make) -> Reference:
    return lambda optimizer: lr_scheduler.ChainedScheduler([make(optimizer) for make in makes])


def inverse(count):
    return 1 / (1 + count / 100)


def nearly_one(count):
    return 1 - 0.1 / (count + 10)


def product(*factors: schedules.Schedule) -> Callable:
    """What a chain is often taken for: the base rate times all relative rates."""

    def schedule(count):
        rate = 0.1
        for factor in factors:
            rate = rate * factor(count) / 0.1
        return rate

    return schedule


CANCELLATION = "PyTorch's 1 + cos loses the digits that cancel near the bottom, where the truth is a small sine squared"

INVERSE = schedules.lambda_lr(0.1, inverse)
WARM_UP = schedules.linear_lr(0.1, 0.01, 1.0, 1000)
COSINE = schedules.cosine_annealing_lr(0.1, 99_000, 1e-4)
GOING_ON = [
    schedules.linear_lr(0.1, 0.1, 0.5, 1000),
    schedules.multiplicative_lr(0.1, nearly_one),
    schedules.swa_lr(0.1, 0.05, 500, "linear"),
    schedules.step_lr(0.1, 300, 0.5),
]
HELD, PULLED = schedules.constant_lr(0.1, 0.1, 100), schedules.cosine_annealing_lr(0.1, 300, 0.01)

CASES: list[Case] = [
    case(
        "sequential_lr",
        "warm-up and cosine",
        schedules.sequential_lr([WARM_UP, COSINE], [1000]),
        one_after_the_other(
            [
                lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.01, 1.0, 1000),
                lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 99_000, 1e-4),
            ],
            [1000],
        ),
        {
            "the count goes on": lambda count: jnp.where(count < 1000, WARM_UP(count), COSINE(count)),
            "a count late": schedules.sequential_lr([WARM_UP, COSINE], [1001]),
            "float32 (Optax)": lambda count: jnp.asarray(
                optax.join_schedules(
                    [
                        optax.linear_schedule(0.001, 0.1, 1000),
                        optax.cosine_decay_schedule(0.1, 99_000, 1e-3),
                    ],
                    [1000],
                )(count.astype(jnp.float32)),
                float,
            ),
        },
    ),
    case(
        "sequential_lr",
        "schedules that go on from where they start",
        schedules.sequential_lr(GOING_ON, [700, 1500, 1700]),
        one_after_the_other(
            [
                lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.1, 0.5, 1000),
                lambda optimizer: lr_scheduler.MultiplicativeLR(optimizer, nearly_one),
                lambda optimizer: swa_utils.SWALR(optimizer, 0.05, 500, "linear"),
                lambda optimizer: lr_scheduler.StepLR(optimizer, 300, 0.5),
            ],
            [700, 1500, 1700],
        ),
        {
            "all at their own rate": schedules.sequential_lr(
                [lambda count, one=one: one(count) for one in GOING_ON], [700, 1500, 1700]
            ),
            "factor of count 0 lost": lambda count: (
                schedules.sequential_lr(GOING_ON, [700, 1500, 1700])(count)
                / jnp.where((count >= 700) & (count < 1500), nearly_one(0), 1)
            ),
        },
        steps=3000,
    ),
    case(
        "sequential_lr",
        "one that overwrites the initial rate",
        schedules.sequential_lr([WARM_UP, schedules.one_cycle_lr(0.1, 3000, final_div_factor=100.0)], [1000]),
        one_after_the_other(
            [
                lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.01, 1.0, 1000),
                lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, 3000, final_div_factor=100.0),
            ],
            [1000],
        ),
        {
            "initial rate kept": lambda count: jnp.where(
                count < 1000,
                WARM_UP(count),
                schedules.one_cycle_lr(0.1, 3000, final_div_factor=100.0)(jnp.maximum(count - 1000, 0)),
            )
        },
        steps=4000,
    ),
    case(
        "sequential_lr",
        "skipped schedules",
        schedules.sequential_lr([WARM_UP, HELD, INVERSE, schedules.cyclic_lr(0.01, 0.1, 70)], [0, 500, 500]),
        one_after_the_other(
            [
                lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.01, 1.0, 1000),
                lambda optimizer: lr_scheduler.ConstantLR(optimizer, 0.1, 100),
                lambda optimizer: lr_scheduler.LambdaLR(optimizer, inverse),
                lambda optimizer: lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, 70),
            ],
            [0, 500, 500],
        ),
        {
            "first one played": schedules.sequential_lr([WARM_UP, schedules.cyclic_lr(0.01, 0.1, 70)], [500]),
        },
        steps=3000,
        torch_since="2.13",
    ),
    case(
        "chained_scheduler",
        "factors",
        schedules.chained_scheduler(
            [HELD, schedules.exponential_lr(0.1, 0.9999), schedules.multi_step_lr(0.1, [0, 500, 500], 0.5)]
        ),
        at_once(
            lambda optimizer: lr_scheduler.ConstantLR(optimizer, 0.1, 100),
            lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9999),
            lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [0, 500, 500], 0.5),
        ),
        {
            "last one only": schedules.multi_step_lr(0.1, [0, 500, 500], 0.5),
            "one after the other": schedules.sequential_lr([HELD, schedules.exponential_lr(0.1, 0.9999)], [100]),
        },
    ),
    case(
        "chained_scheduler",
        "pulled to a minimum",
        schedules.chained_scheduler([HELD, PULLED]),
        at_once(
            lambda optimizer: lr_scheduler.ConstantLR(optimizer, 0.1, 100),
            lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 300, 0.01),
        ),
        {
            "product": product(HELD, PULLED),
            "the other order": schedules.chained_scheduler([PULLED, HELD]),
        },
        steps=1000,
    ),
    case(
        "chained_scheduler",
        "pulled to a minimum, each 4,999th of 100,000",
        schedules.chained_scheduler([schedules.cosine_annealing_lr(0.1, 200_000, 0.01), WARM_UP]),
        at_once(
            lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 200_000, 0.01),
            lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.01, 1.0, 1000),
        ),
        {"product": product(WARM_UP, schedules.cosine_annealing_lr(0.1, 200_000, 0.01))},
        every=4999,
    ),
    case(
        "chained_scheduler",
        "overwritten",
        schedules.chained_scheduler(
            [HELD, schedules.lambda_lr(0.1, inverse), schedules.step_lr(0.1, 700, 0.5), PULLED]
        ),
        at_once(
            lambda optimizer: lr_scheduler.ConstantLR(optimizer, 0.1, 100),
            lambda optimizer: lr_scheduler.LambdaLR(optimizer, inverse),
            lambda optimizer: lr_scheduler.StepLR(optimizer, 700, 0.5),
            lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 300, 0.01),
        ),
        {"product": product(HELD, INVERSE, schedules.step_lr(0.1, 700, 0.5), PULLED)},
        steps=3000,
        formula_limit=1e-11,
        reason=CANCELLATION,
    ),
    case(
        "chained_scheduler",
        "a cosine of one count, after a decay that ends at zero",
        schedules.chained_scheduler([schedules.polynomial_lr(0.1, 5), schedules.cosine_annealing_lr(0.1, 1, 0.02)]),
        at_once(
            lambda optimizer: lr_scheduler.PolynomialLR(optimizer, 5),
            lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 1, 0.02),
        ),
        {"product": product(schedules.polynomial_lr(0.1, 5), schedules.cosine_annealing_lr(0.1, 1, 0.02))},
        steps=1000,
    ),
    case(
        "chained_scheduler",
        "a decay at 0 of a rate that is pulled",
        schedules.chained_scheduler([PULLED, schedules.multi_step_lr(0.1, [0, 500, 500], 0.5)]),
        at_once(
            lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 300, 0.01),
            lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [0, 500, 500], 0.5),
        ),
        {"product": product(PULLED, schedules.multi_step_lr(0.1, [0, 500, 500], 0.5))},
        steps=1000,
    ),
    case(
        "chained_scheduler",
        "annealed by swa_lr",
        schedules.chained_scheduler([HELD, schedules.swa_lr(0.1, 0.05, 300)]),
        at_once(
            lambda optimizer: lr_scheduler.ConstantLR(optimizer, 0.1, 100),
            lambda optimizer: swa_utils.SWALR(optimizer, 0.05, 300),
        ),
        {"product": product(HELD, schedules.swa_lr(0.1, 0.05, 300))},
        steps=1000,
    ),
    case(
        "per_epoch",
        "7 steps an epoch",
        schedules.per_epoch(schedules.exponential_lr(0.1, 0.9995), 7),
        lambda optimizer: EveryEpoch(lr_scheduler.ExponentialLR(optimizer, 0.9995), 7),
        {
            "every step": schedules.exponential_lr(0.1, 0.9995),
            "to the nearest epoch": lambda count: schedules.exponential_lr(0.1, 0.9995)((count + 3) // 7),
            "fractional": schedules.per_epoch(schedules.exponential_lr(0.1, 0.9995), 7, fractional=True),
        },
    ),
    case(
        "per_epoch",
        "fractional, 7 steps an epoch",
        schedules.per_epoch(schedules.cosine_annealing_warm_restarts(0.1, 50, 2, 1e-4), 7, fractional=True),
        lambda optimizer: FractionalEpochs(lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 50, 2, 1e-4), 7),
        {"whole epochs": schedules.per_epoch(schedules.cosine_annealing_warm_restarts(0.1, 50, 2, 1e-4), 7)},
    ),
]
