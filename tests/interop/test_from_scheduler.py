"""Schedules that follow PyTorch's schedulers, read from the objects in the middle of their run."""

import warnings

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as lrs
from torch.optim.swa_utils import SWALR

from jaxtrain import interop

STEPS = 40

SCHEDULERS = {
    "StepLR": lambda o: lrs.StepLR(o, 7, 0.5),
    "MultiStepLR": lambda o: lrs.MultiStepLR(o, [3, 9, 9, 20], 0.5),
    "ConstantLR": lambda o: lrs.ConstantLR(o, 0.25, 6),
    "LinearLR": lambda o: lrs.LinearLR(o, 0.1, 0.9, 12),
    "ExponentialLR": lambda o: lrs.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: lrs.PolynomialLR(o, 30, 1.5),
    "CosineAnnealingLR": lambda o: lrs.CosineAnnealingLR(o, 15, 0.01),
    "CosineAnnealingWarmRestarts": lambda o: lrs.CosineAnnealingWarmRestarts(o, 4, 2, 0.01),
    "OneCycleLR": lambda o: lrs.OneCycleLR(o, [1.0, 2.0], total_steps=STEPS + 1, pct_start=0.4, div_factor=10.0),
    "OneCycleLR, three phases": lambda o: lrs.OneCycleLR(
        o, 1.0, total_steps=STEPS + 1, anneal_strategy="linear", three_phase=True, final_div_factor=50.0
    ),
    "CyclicLR": lambda o: lrs.CyclicLR(o, [0.1, 0.2], [1.0, 2.0], 5, 8, "exp_range", 0.95),
    "CyclicLR, triangular2": lambda o: lrs.CyclicLR(o, 0.1, 1.0, 5, mode="triangular2", cycle_momentum=False),
    "SWALR": lambda o: SWALR(o, [0.01, 0.02], 6, "linear"),
    "SequentialLR": lambda o: lrs.SequentialLR(o, [lrs.LinearLR(o, 0.1), lrs.CosineAnnealingLR(o, 20)], [8]),
    "ChainedScheduler": lambda o: lrs.ChainedScheduler([lrs.ConstantLR(o, 0.1, 5), lrs.ExponentialLR(o, 0.9)]),
}


def optimizer() -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.5, 0.3)]
    return torch.optim.SGD(groups, lr=1.0, momentum=0.9)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_schedule_follows_pytorch(name: str) -> None:
    own = optimizer()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR steps before the optimizer.
        scheduler = SCHEDULERS[name](own)
    truth, found = [], []
    for count in range(STEPS):
        if count % 13 == 0:
            found = [interop.schedule_from_torch(scheduler, group) for group in (0, 1)]
        truth.append([group["lr"] for group in own.param_groups])
        own.step()
        scheduler.step()
    ours = np.array([[float(schedule(count)) for schedule in found] for count in range(STEPS)])
    np.testing.assert_allclose(ours, truth, rtol=3e-7)
    assert len(np.unique(ours)) > 2


def refusal(scheduler: object, group: int = 0) -> str:
    with pytest.raises((TypeError, ValueError)) as error:
        interop.schedule_from_torch(scheduler, group)
    return str(error.value)


def test_refusals() -> None:
    own = optimizer()
    assert "LambdaLR holds a Python function; write it with jax.numpy for schedules.lambda_lr" in refusal(
        lrs.LambdaLR(own, lambda epoch: 0.9**epoch)
    )
    assert "for schedules.multiplicative_lr" in refusal(lrs.MultiplicativeLR(own, lambda epoch: 0.9))
    assert "use schedules.reduce_lr_on_plateau" in refusal(lrs.ReduceLROnPlateau(own))
    assert "for the scale_fn of schedules.cyclic_lr" in refusal(lrs.CyclicLR(own, 0.1, 1.0, scale_fn=lambda x: 1.0))
    assert "expected a scheduler of torch.optim.lr_scheduler, got SGD" in refusal(own)
    assert "group must be from 0 to 1, got 2" in refusal(lrs.StepLR(own, 3), 2)
