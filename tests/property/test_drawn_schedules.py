"""Schedules with drawn arguments, against what PyTorch executes over 60 steps."""

from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR

from jaxtrain import schedules

STEPS = 60


class Pair(NamedTuple):
    """A schedule, and how to make its counterpart on an optimizer."""

    ours: schedules.Schedule
    torchs: Callable[[torch.optim.Optimizer], Any]


def pairs(ours: Callable, torchs: Callable, *arguments: st.SearchStrategy):
    """A strategy, from a base rate to pairs with the same drawn arguments."""

    def with_lr(lr: float) -> st.SearchStrategy[Pair]:
        return st.tuples(*arguments).map(
            lambda drawn: Pair(ours(lr, *drawn), lambda optimizer: torchs(optimizer, *drawn))
        )

    return with_lr


def without_lr(ours: Callable, torchs: Callable, *arguments: st.SearchStrategy):
    """The same for schedules that bring their own rates."""
    return lambda lr: st.tuples(*arguments).map(
        lambda drawn: Pair(ours(*drawn), lambda optimizer: torchs(optimizer, *drawn))
    )


def count(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


def number(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_subnormal=False)


# Not far below a drawn eta_min: there PyTorch's eta_min + (lr - eta_min) loses the digits of lr.
RATES = number(0.01, 10.0)
STRATEGIES = st.sampled_from(["cos", "linear"])

SCALING = {
    "step_lr": pairs(schedules.step_lr, lr_scheduler.StepLR, count(1, 20), number(0.1, 1.5)),
    "multi_step_lr": pairs(
        schedules.multi_step_lr, lr_scheduler.MultiStepLR, st.lists(count(0, 70), max_size=6), number(0.1, 1.5)
    ),
    "exponential_lr": pairs(schedules.exponential_lr, lr_scheduler.ExponentialLR, number(0.7, 1.2)),
    "constant_lr": pairs(schedules.constant_lr, lr_scheduler.ConstantLR, number(0.01, 1.0), count(1, 70)),
    "linear_lr": pairs(schedules.linear_lr, lr_scheduler.LinearLR, number(0.01, 1.0), number(0.01, 1.0), count(1, 70)),
    "polynomial_lr": pairs(schedules.polynomial_lr, lr_scheduler.PolynomialLR, count(1, 70), number(0.0, 5.0)),
}
OTHERS = {
    "cosine_annealing_lr": pairs(
        schedules.cosine_annealing_lr, lr_scheduler.CosineAnnealingLR, count(1, 40), number(0.0, 1.0)
    ),
    "swa_lr": pairs(schedules.swa_lr, SWALR, number(0.0, 1.0), count(0, 70), STRATEGIES),
    "cosine_annealing_warm_restarts": pairs(
        schedules.cosine_annealing_warm_restarts,
        lr_scheduler.CosineAnnealingWarmRestarts,
        count(1, 20),
        count(1, 4),
        number(0.0, 1.0),
    ),
    "cyclic_lr": without_lr(
        schedules.cyclic_lr,
        lr_scheduler.CyclicLR,
        number(1e-3, 1.0),
        number(1e-3, 1.0),
        number(0.5, 40.0),
        number(0.5, 40.0),
        st.sampled_from(["triangular", "triangular2", "exp_range"]),
        number(0.8, 1.0),
    ),
    "one_cycle_lr": without_lr(
        lambda *a: schedules.one_cycle_lr(*a[:6], div_factor=a[6], final_div_factor=a[7], three_phase=a[8]),
        lambda o, *a: lr_scheduler.OneCycleLR(o, *a[:6], div_factor=a[6], final_div_factor=a[7], three_phase=a[8]),
        number(1e-3, 1.0),
        count(STEPS, 3 * STEPS),
        st.none(),
        st.none(),
        number(0.02, 0.99).filter(lambda fraction: all(fraction * n != 1 for n in range(STEPS, 3 * STEPS + 1))),
        STRATEGIES,
        number(1.0, 100.0),
        number(1.0, 100.0),
        st.booleans(),
    ),
}
ALL = SCALING | OTHERS


def some(names: Iterable[str], most: int) -> st.SearchStrategy[list[str]]:
    """Names, with `swa_lr` once at most: in PyTorch the last one made sets the target of all on its optimizer."""
    drawn = st.lists(st.sampled_from(sorted(names)), min_size=1, max_size=most)
    return drawn.filter(lambda names: names.count("swa_lr") < 2)


def rates(make_torch: Callable, lr: float, roundings: Iterator[float]) -> np.ndarray:
    """PyTorch's rate at every step, with one of the roundings more after each step."""
    optimizer = torch.optim.SGD([torch.zeros((), requires_grad=True)], lr=lr, momentum=0.9)
    scheduler = make_torch(optimizer)
    optimizer.step()
    found = []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
        optimizer.param_groups[0]["lr"] *= 1 + next(roundings)
    return np.array(found)


def assert_agree(ours: Callable, make_torch: Callable, lr: float) -> None:
    """Within 1e-12 of the largest value so far, at every step; or, where that is more, within ten times what PyTorch's
    values differ by in twelve runs with a rounding more a step: a pull to a minimum makes small what the way back from
    there multiplies by thousands.
    """
    expected = rates(make_torch, lr, repeat(0.0))
    with jax.enable_x64(True):
        actual = np.asarray(jax.vmap(ours)(jnp.arange(STEPS)))
    error, limit = np.abs(actual - expected), 1e-12 * np.maximum.accumulate(np.abs(expected))
    if (error > limit).any():
        signs = np.random.default_rng(0).choice([-1, 1], (12, STEPS))
        rough = [rates(make_torch, lr, iter(np.finfo(np.float64).eps * row)) for row in signs]
        limit = np.maximum(limit, 10 * np.maximum.accumulate(np.abs(rough - expected).max(axis=0)))
    assert np.all(error <= limit), f"error {error.max()} at step {np.argmax(error - limit)}, limit {limit.max()}"


@pytest.mark.parametrize("name", ALL)
@given(data=st.data())
def test_alone(name, data):
    lr = data.draw(RATES)
    pair = data.draw(ALL[name](lr))
    assert_agree(pair.ours, pair.torchs, lr)


@given(data=st.data())
def test_one_after_the_other(data):
    lr = data.draw(RATES)
    # A one-cycle or cyclic schedule in PyTorch changes the rates of those that are made after it.
    names = ALL.keys() - {"cyclic_lr", "one_cycle_lr"}
    drawn = [data.draw(ALL[name](lr)) for name in data.draw(some(names, 4))]
    milestones = sorted(data.draw(st.lists(count(0, 50), min_size=len(drawn) - 1, max_size=len(drawn) - 1)))
    assert_agree(
        schedules.sequential_lr([pair.ours for pair in drawn], milestones),
        lambda optimizer: lr_scheduler.SequentialLR(optimizer, [pair.torchs(optimizer) for pair in drawn], milestones),
        lr,
    )


@pytest.mark.parametrize("names", [SCALING, ["cosine_annealing_lr", "swa_lr", *SCALING]], ids=["scaling", "all"])
@given(data=st.data())
def test_at_once(names, data):
    lr = data.draw(RATES)
    drawn = [data.draw(ALL[name](lr)) for name in data.draw(some(names, 3))]
    assert_agree(
        schedules.chained_scheduler([pair.ours for pair in drawn]),
        lambda optimizer: lr_scheduler.ChainedScheduler([pair.torchs(optimizer) for pair in drawn]),
        lr,
    )
