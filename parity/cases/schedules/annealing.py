"""Cases of `jaxtrain.schedules`: cosines, with and without restarts, and the annealing of weight averaging."""

import math

import jax.numpy as jnp
import optax
from torch.optim import lr_scheduler, swa_utils

from jaxtrain import schedules
from parity.case import Case
from parity.cases.schedules._table import case, in_float32

GROWING_ANGLE = "PyTorch takes the cosine of an angle that grows forever: its last digits go with the periods"
CANCELLATION = "PyTorch's 1 + cos loses the digits that cancel near the bottom, where the truth is a small sine squared"


def restarts_by_logarithm(T_0: int, T_mult: int):
    """The number of restarts by a rounded logarithm, as PyTorch's `step(epoch)` has it: one too few at some of them."""

    def schedule(count):
        number = jnp.floor(jnp.log(count / T_0 * (T_mult - 1) + 1) / math.log(T_mult) - 1e-15)
        begun = T_0 * (T_mult**number - 1) / (T_mult - 1)
        return 1e-4 + (0.1 - 1e-4) * (1 + jnp.cos(math.pi * (count - begun) / (T_0 * T_mult**number))) / 2

    return schedule


OPTAX_CYCLE = {"init_value": 0.1, "peak_value": 0.1, "warmup_steps": 0, "decay_steps": 1000, "end_value": 1e-4}

CASES: list[Case] = [
    case(
        "cosine_annealing_lr",
        "T_max=10,000, eta_min=1e-4",
        schedules.cosine_annealing_lr(0.1, 10_000, 1e-4),
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 10_000, 1e-4),
        {
            "stays at the bottom (Optax)": lambda count: optax.cosine_decay_schedule(0.1, 10_000, 1e-3)(count),
            "starts again at the top": schedules.cosine_annealing_warm_restarts(0.1, 10_000, 1, 1e-4),
            "minimum as a factor": schedules.cosine_annealing_lr(0.1, 10_000, 1e-5),
            "T_max - 1": schedules.cosine_annealing_lr(0.1, 9_999, 1e-4),
            "float32": in_float32(lambda count: 0.05005 + 0.04995 * jnp.cos(math.pi * count / 10_000)),
        },
    ),
    case(
        "cosine_annealing_lr",
        "T_max=100,000, eta_min=1e-5",
        schedules.cosine_annealing_lr(0.1, 100_000, 1e-5),
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 100_000, 1e-5),
        {"float32 (Optax)": in_float32(optax.cosine_decay_schedule(0.1, 100_000, 1e-4))},
    ),
    case(
        "cosine_annealing_lr",
        "T_max=10, 5,000 periods",
        schedules.cosine_annealing_lr(0.1, 10, 1e-4),
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 10, 1e-4),
        {"starts again at the top": schedules.cosine_annealing_warm_restarts(0.1, 10, 1, 1e-4)},
        formula_limit=1e-10,
        reason=GROWING_ANGLE,
    ),
    case(
        "cosine_annealing_lr",
        "T_max=7.5",
        schedules.cosine_annealing_lr(0.1, 7.5, 1e-4),
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 7.5, 1e-4),
        {"rounded T_max": schedules.cosine_annealing_lr(0.1, 8, 1e-4)},
        formula_limit=1e-10,
        reason=GROWING_ANGLE,
    ),
    case(
        "cosine_annealing_lr",
        "T_max=100,000 to zero",
        schedules.cosine_annealing_lr(0.1, 100_000),
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 100_000),
        {"T_max - 1": schedules.cosine_annealing_lr(0.1, 99_999)},
        formula_limit=1e-7,
        reason=f"{CANCELLATION}: 7.4e-8 at the last step",
    ),
    case(
        "cosine_annealing_warm_restarts",
        "T_0=1000, eta_min=1e-4",
        schedules.cosine_annealing_warm_restarts(0.1, 1000, 1, 1e-4),
        lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 1000, 1, 1e-4),
        {
            "goes up again": schedules.cosine_annealing_lr(0.1, 1000, 1e-4),
            "restarts a count late": schedules.cosine_annealing_warm_restarts(0.1, 1001, 1, 1e-4),
            "float32 (Optax)": in_float32(optax.sgdr_schedule(100 * [OPTAX_CYCLE])),
        },
    ),
    *(
        case(
            "cosine_annealing_warm_restarts",
            f"T_0={T_0}, T_mult={T_mult}, eta_min=1e-4",
            schedules.cosine_annealing_warm_restarts(0.1, T_0, T_mult, 1e-4),
            lambda optimizer, T_0=T_0, T_mult=T_mult: lr_scheduler.CosineAnnealingWarmRestarts(
                optimizer, T_0, T_mult, 1e-4
            ),
            {
                "cycles of one length": schedules.cosine_annealing_warm_restarts(0.1, T_0, 1, 1e-4),
                "cycles longer by T_0": lambda count, T_0=T_0: schedules.cosine_annealing_warm_restarts(
                    0.1, T_0, 2, 1e-4
                )(2 * count),
                "a rounded logarithm": restarts_by_logarithm(T_0, T_mult),
            },
        )
        for T_0, T_mult in ((1, 3), (10, 10), (50, 2))
    ),
    case(
        "cosine_annealing_warm_restarts",
        "T_0=50, T_mult=2 to zero",
        schedules.cosine_annealing_warm_restarts(0.1, 50, 2),
        lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 50, 2),
        {"cycles of one length": schedules.cosine_annealing_warm_restarts(0.1, 50)},
        formula_limit=1e-8,
        reason=f"{CANCELLATION}: 1.3e-9 at the last step of the longest cycle",
    ),
    *(
        case(
            "swa_lr",
            f"{strategy}, 1000 steps",
            schedules.swa_lr(0.1, 0.03, 1000, strategy),
            lambda optimizer, strategy=strategy: swa_utils.SWALR(optimizer, 0.03, 1000, strategy),
            {
                f"annealed along a {other} way": schedules.swa_lr(0.1, 0.03, 1000, other),
                "at once": schedules.swa_lr(0.1, 0.03, 0, strategy),
                "a step late": schedules.swa_lr(0.1, 0.03, 1001, strategy),
            },
        )
        for strategy, other in (("cos", "linear"), ("linear", "cos"))
    ),
    case(
        "swa_lr",
        "1 step",
        schedules.swa_lr(0.1, 0.03, 1),
        lambda optimizer: swa_utils.SWALR(optimizer, 0.03, 1),
        {"at once": schedules.swa_lr(0.1, 0.03, 0), "a step late": schedules.swa_lr(0.1, 0.03, 2)},
        steps=100,
    ),
]
