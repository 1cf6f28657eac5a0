"""Schedules that follow PyTorch's schedulers, and their states, read in the middle of a run and given back."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from torch.optim import lr_scheduler as lrs
from torch.optim.swa_utils import SWALR

from jaxtrain import interop, nn, optim, schedules
from jaxtrain.train import ReduceLROnPlateau, TrainState, fit

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
    "CyclicLR": lambda o: lrs.CyclicLR(
        o, [0.1, 0.2], [1.0, 2.0], 5, 8, "exp_range", 0.95, base_momentum=[0.7, 0.8], max_momentum=[0.9, 0.95]
    ),
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
    assert "depends on a metric; use plateau_from_torch" in refusal(lrs.ReduceLROnPlateau(own))
    assert "for the scale_fn of schedules.cyclic_lr" in refusal(lrs.CyclicLR(own, 0.1, 1.0, scale_fn=lambda x: 1.0))
    assert "expected a scheduler of torch.optim.lr_scheduler, or its state_dict, got SGD" in refusal(own)
    assert "or its state_dict, got a dict of ['state', 'param_groups']" in refusal(own.state_dict())
    assert "LambdaLR or MultiplicativeLR holds a Python function" in refusal(
        lrs.MultiplicativeLR(own, lambda epoch: 0.9).state_dict()
    )
    step = lrs.StepLR(own, 3).state_dict()
    del step["gamma"]
    assert "expected the attribute 'gamma' of this StepLR, got ['_" in refusal(step)
    cycle = lrs.OneCycleLR(optimizer(), 1.0, total_steps=9).state_dict()
    assert "OneCycleLR keeps 'initial_lr' in the optimizer's groups; pass optimizer=, its state_dict" in refusal(cycle)
    with pytest.raises(ValueError, match="expected 'swa_lr' of this SWALR in group 0 of the optimizer, got a group wi"):
        interop.schedule_from_torch(SWALR(optimizer(), 0.1).state_dict(), optimizer=optimizer())
    with pytest.raises(TypeError, match="optimizer must be PyTorch's, or its state_dict, got float"):
        interop.schedule_from_torch(cycle, optimizer=0.1)
    assert "group must be from 0 to 1, got 2" in refusal(lrs.StepLR(own, 3), 2)
    assert "expected an optimizer with parameter groups" in refusal(lrs.StepLR(own, 3).state_dict() | {"base_lrs": []})


def made(name: str) -> tuple[torch.optim.Optimizer, lrs.LRScheduler]:
    own = optimizer()
    with warnings.catch_warnings():
        # Some schedulers are deprecated in PyTorch, and some warn of their own first step.
        warnings.simplefilter("ignore")
        return own, SCHEDULERS[name](own)


def rates(own: torch.optim.Optimizer, scheduler: lrs.LRScheduler, steps: int) -> np.ndarray:
    """The rates and momenta of the groups, from now on."""
    found = []
    for _ in range(steps):
        found.append([[group["lr"], group["momentum"]] for group in own.param_groups])
        own.step()
        scheduler.step()
    return np.array(found)


def counters(saved: dict[str, Any]) -> dict[str, Any]:
    """What a scheduler's state has besides its rates; of a composition that of its parts as well."""
    own = {key: value for key, value in saved.items() if key[:1] != "_" or key == "_step_count"}
    return own | {"parts": [counters(part) for part in saved.get("_schedulers", ())]}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_state_dict_gives_the_schedule_and_comes_back(name: str) -> None:
    own, scheduler = made(name)
    rates(own, scheduler, 17)
    saved, groups = scheduler.state_dict(), own.state_dict()
    truth = rates(own, scheduler, STEPS - 17)
    lr = [interop.schedule_from_torch(saved, group, optimizer=groups) for group in (0, 1)]
    ours = np.stack([schedule(np.arange(17, STEPS)) for schedule in lr], axis=1)
    np.testing.assert_allclose(ours, truth[..., 0], rtol=1e-12)

    fresh, other = made(name)
    back = interop.scheduler_state_dict(17, other.state_dict(), optimizer=fresh.state_dict())
    changes = {"lr": back["_last_lr"]}
    if saved.get("cycle_momentum"):
        momenta = [interop.momentum_from_torch(saved, group, optimizer=groups) for group in (0, 1)]
        changes["momentum"] = [float(momentum(17)) for momentum in momenta]
        ours = np.stack([momentum(np.arange(17, STEPS)) for momentum in momenta], axis=1)
        np.testing.assert_allclose(ours, truth[..., 1], rtol=1e-12)
    other.load_state_dict(back)
    for key, values in changes.items():
        for group, value in zip(fresh.param_groups, values, strict=True):
            group[key] = value
    assert counters(back) == counters(saved)
    np.testing.assert_allclose(rates(fresh, other, STEPS - 17), truth, rtol=1e-12)


def test_a_schedule_continues_at_the_schedulers_count() -> None:
    """Also where the optimizer has made another number of steps, and in the middle of an epoch."""
    _, scheduler = made("StepLR")
    for _ in range(9):
        scheduler.optimizer.step()
        scheduler.step()
    saved = scheduler.state_dict()
    lr = interop.schedule_from_torch(saved)
    ours = optax.chain(optim.sgd(schedules.per_epoch(lr, 5)), optax.scale_by_schedule(lambda count: 1.0))
    state = TrainState.create(nn.Linear(2, 2, rngs=nnx.Rngs(0)), ours)
    loaded = interop.load_scheduler(state, saved, steps_per_epoch=5)
    assert [int(part.count) for part in loaded.opt_state] == [45, 45]
    assert int(loaded.step) == 0
    loaded = interop.load_scheduler(dataclasses.replace(state, step=jnp.asarray(47)), saved, steps_per_epoch=5)
    assert [int(part.count) for part in loaded.opt_state] == [47, 47]
    lbfgs = TrainState.create(nn.Linear(2, 2, rngs=nnx.Rngs(0)), optim.lbfgs(lr))
    assert int(interop.load_scheduler(lbfgs, saved).opt_state.count) == 9


METRICS = [3.0, 2.0, 2.5, 2.4, 2.3, 2.2, 2.1, 1.0, 1.5, 1.4, 1.3, 1.2, 1.1, 1.1, 1.1]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("by_hand", [True, False])
def test_a_plateau_there_and_back(by_hand: bool) -> None:
    options = {"factor": 0.5, "patience": 1, "cooldown": 1, "min_lr": 0.02, "threshold_mode": "abs"}
    own, fresh = (torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1) for _ in range(2))
    scheduler, other = lrs.ReduceLROnPlateau(own, **options), lrs.ReduceLROnPlateau(fresh, **options)
    for metric in METRICS[:6]:
        scheduler.step(metric)
    saved = scheduler.state_dict()
    rule = schedules.reduce_lr_on_plateau(0.1, **options) if by_hand else interop.plateau_from_torch(saved)
    state = interop.load_scheduler(rule, saved)
    assert [float(state.lr), int(state.num_reductions)] == [0.05, 1 if by_hand else 0]
    truth, ours, back = [], [], []
    for count, metric in enumerate(METRICS[6:]):
        scheduler.step(metric)
        truth.append(own.param_groups[0]["lr"])
        state = rule.update(state, metric)
        ours.append(float(state.lr))
        if count > 2:
            other.step(metric)
        elif count == 2:
            saved = interop.scheduler_state_dict(state, other.state_dict())
            other.load_state_dict(saved)
            fresh.param_groups[0]["lr"] = saved["_last_lr"][0]
        back.append(fresh.param_groups[0]["lr"])
    assert ours == pytest.approx(truth, rel=1e-12)
    assert back[2:] == pytest.approx(truth[2:], rel=1e-12)
    assert len(set(truth[2:])) > 1


ARGUMENTS = {
    "mode": "max",
    "factor": 0.3,
    "patience": 2,
    "threshold": 0.5,
    "threshold_mode": "abs",
    "cooldown": 2,
    "min_lr": 0.04,
    "eps": 0.015,
}
WAVES = [2.0, 1.0, 0.3, 0.2, 2.5, 2.8, 1.9, 2.2, 1.7, 2.8, 2.5, 0.2, 2.6, 0.3]
"""Metrics on which each of these arguments changes the rates."""


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_argument_and_memory_of_a_plateau(name: str) -> None:
    """Taken over after each of several epochs, so that every counter is above zero after one of them."""

    def plateau(**options: Any) -> lrs.ReduceLROnPlateau:
        own = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        return lrs.ReduceLROnPlateau(own, **{"factor": 0.5, "patience": 1, "threshold": 0.2} | options)

    def trained(scheduler: lrs.ReduceLROnPlateau) -> tuple[list[dict], list[float]]:
        saved = []
        for metric in WAVES:
            scheduler.step(metric)
            saved.append(scheduler.state_dict())
        return saved, [own["_last_lr"][0] for own in saved]

    saved, truth = trained(plateau(**{name: ARGUMENTS[name]}))
    assert truth != trained(plateau())[1]
    counters = {"num_bad_epochs": 0, "cooldown_counter": 0}
    for begin in range(1, 8):
        counters = {key: max(most, saved[begin][key]) for key, most in counters.items()}
        rule = interop.plateau_from_torch(saved[begin])
        state, found = interop.load_scheduler(rule, saved[begin]), []
        for metric in WAVES[begin + 1 :]:
            state = rule.update(state, metric)
            found.append(float(state.lr))
        assert found == pytest.approx(truth[begin + 1 :], rel=1e-6)
    assert counters["num_bad_epochs"] > 0
    assert (counters["cooldown_counter"] > 0) == (name == "cooldown")


def test_a_plateau_ends_at_the_least_rate_of_its_group() -> None:
    scheduler = lrs.ReduceLROnPlateau(optimizer(), factor=0.5, patience=0, min_lr=[0.1, 0.2])
    scheduler.step(1.0)
    for group, least in enumerate((0.1, 0.2)):
        rule = interop.plateau_from_torch(scheduler, group)
        state = rule.init()
        for _ in range(5):
            state = rule.update(state, 1.0)
        assert float(state.lr) == pytest.approx(least)


def test_the_listener_continues_a_plateau() -> None:
    """One more bad epoch reduces the rate that PyTorch had, in the second epoch."""
    own = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = lrs.ReduceLROnPlateau(own, patience=1)
    for metric in (-1.0, 0.0):
        scheduler.step(metric)
    rule = interop.plateau_from_torch(scheduler)
    listener = ReduceLROnPlateau("loss", rule, interop.load_scheduler(rule, scheduler.state_dict()))
    optimizer = optax.inject_hyperparams(optim.sgd)(lr=0.1)
    state = TrainState.create(nn.Linear(2, 1, rngs=nnx.Rngs(0)), optimizer)
    data = np.ones((4, 2), np.float32)
    state, history = fit(
        state,
        lambda model, x: (model(x) ** 2).mean(),
        data,
        epochs=2,
        batch_size=4,
        listeners=[listener],
        progress=False,
    )
    assert history["lr"] == pytest.approx([0.5, 0.05])
    assert float(listener.memory.best) == -1.0


def test_states_that_do_not_fit() -> None:
    def refused(function: Callable[..., object], *arguments: object, **options: object) -> str:
        with pytest.raises((TypeError, ValueError)) as error:
            function(*arguments, **options)
        return str(error.value)

    own, step = made("StepLR")
    plateau, rule = lrs.ReduceLROnPlateau(own, "max"), schedules.reduce_lr_on_plateau(0.3, factor=0.5)
    state = TrainState.create(nn.Linear(2, 2, rngs=nnx.Rngs(0)), optim.sgd(0.1))
    load, back = interop.load_scheduler, interop.scheduler_state_dict
    assert "target must be a TrainState, or the rule of a plateau, got Schedule" in refused(
        load, interop.schedule_from_torch(step), step.state_dict()
    )
    assert "a ReduceLROnPlateau has no count; pass a rule" in refused(load, state, plateau)
    assert "expected the state of a ReduceLROnPlateau for a rule, got StepLR" in refused(load, rule, step)
    assert "expected a rate of 0.5, got a rule whose first rate 0.3 does not become" in refused(load, rule, plateau)
    assert "expected the state of a plateau's rule, got int" in refused(back, 3, plateau.state_dict())
    assert "expected a schedule, or one for each of the 2 groups, got [" in refused(
        back, 3, step.state_dict(), schedule=[abs]
    )
    assert "expected a scheduler that cycles the momentum, got StepLR without it" in refused(
        interop.momentum_from_torch, step
    )
    assert "expected a ReduceLROnPlateau, got StepLR; use schedule_from_torch" in refused(
        interop.plateau_from_torch, step
    )
    assert (
        back(3, lrs.LambdaLR(own, lambda count: 1.0).state_dict(), schedule=lambda count: 0.2)["_last_lr"] == [0.2] * 2
    )
