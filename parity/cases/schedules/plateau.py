"""Cases of `jaxtrain.schedules`: reduction on a plateau."""

from typing import Any

import numpy as np
from torch.optim import lr_scheduler

from jaxtrain import schedules
from parity.case import Case
from parity.draws import generator
from parity.subjects.plateau import PlateauCase

EPOCHS = 20_000
SMOOTH = 30


def metrics(level: float, scale: float) -> np.ndarray:
    """A metric that falls forever, more and more slowly, under noise, with NaN and repeated values in it.

    The first epochs are without noise: whatever the seed, each falls by less than the one before, past all thresholds.
    """
    noise = generator(0).normal(size=EPOCHS)
    noise[:SMOOTH] = 0.0
    values = level + scale / np.sqrt(1 + np.arange(EPOCHS) / 10) + scale / 5 * noise
    values[100::337] = np.nan
    values[50::61] = values[49:-1:61]
    return values.astype(np.float32)


def case(configuration: str, values: np.ndarray, defects: dict[str, dict[str, Any]], **options: Any) -> Case:
    """A configuration, and defects as options that differ from it."""
    return PlateauCase(
        component="schedules.reduce_lr_on_plateau",
        configuration=configuration,
        ours=schedules.reduce_lr_on_plateau(0.1, **options),
        reference=lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, **options),
        metrics=values,
        defects={bug: schedules.reduce_lr_on_plateau(0.1, **(options | wrong)) for bug, wrong in defects.items()},
    )


FALLING = metrics(1.0, 1.0)
STAIRS = np.ceil(64 * FALLING) / 64

CASES: list[Case] = [
    case(
        "defaults, gentle factor",
        FALLING,
        {
            "triggers at patience (Optax)": {"patience": 9},
            "wrong direction": {"mode": "max"},
            "reductions below 1e-8": {"eps": 0.0},
        },
        factor=0.99,
    ),
    case(
        "cooldown, least rate",
        FALLING,
        {
            "no cooldown": {"cooldown": 0},
            "cooldown a step longer": {"cooldown": 8},
            "no least rate": {"min_lr": 0.0},
        },
        factor=0.97,
        patience=3,
        cooldown=7,
        min_lr=1e-3,
        threshold=0.01,
    ),
    case(
        "rising, absolute threshold",
        -FALLING,
        {"relative threshold": {"threshold_mode": "rel"}, "wrong direction": {"mode": "min"}},
        mode="max",
        factor=0.995,
        patience=5,
        threshold=0.05,
        threshold_mode="abs",
        eps=0.0,
    ),
    case(
        "falling below zero, relative threshold",
        FALLING - 2.0,
        {"absolute threshold": {"threshold_mode": "abs"}, "threshold ignored": {"threshold": 0.0}},
        factor=0.995,
        patience=5,
        threshold=0.1,
        eps=0.0,
    ),
    case(
        "rising, relative threshold",
        3.0 - FALLING,
        {"absolute threshold": {"threshold_mode": "abs"}, "threshold ignored": {"threshold": 0.0}},
        mode="max",
        factor=0.995,
        patience=5,
        threshold=0.01,
        eps=0.0,
    ),
    *(
        case(
            f"equal metrics, mode={mode!r}, threshold_mode={threshold_mode!r}",
            STAIRS if mode == "min" else -STAIRS,
            {"a stair is not enough": {"threshold": 0.1}},
            mode=mode,
            factor=0.995,
            patience=5,
            threshold=0.0,
            threshold_mode=threshold_mode,
            eps=0.0,
        )
        for mode in ("min", "max")
        for threshold_mode in ("rel", "abs")
    ),
]
