"""Schedules of this package with the arguments of PyTorch's schedulers."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxtrain import schedules
from jaxtrain.interop._saved_scheduler import SavedScheduler, read
from jaxtrain.schedules import Plateau, Schedule

SAME_NAMES: dict[str, tuple[Callable[..., Schedule], tuple[str, ...]]] = {
    "StepLR": (schedules.step_lr, ("step_size", "gamma")),
    "ConstantLR": (schedules.constant_lr, ("factor", "total_iters")),
    "LinearLR": (schedules.linear_lr, ("start_factor", "end_factor", "total_iters")),
    "ExponentialLR": (schedules.exponential_lr, ("gamma",)),
    "PolynomialLR": (schedules.polynomial_lr, ("total_iters", "power")),
    "CosineAnnealingLR": (schedules.cosine_annealing_lr, ("T_max", "eta_min")),
    "CosineAnnealingWarmRestarts": (schedules.cosine_annealing_warm_restarts, ("T_0", "T_mult", "eta_min")),
}
"""Schedulers that keep their arguments under their names."""

FUNCTIONAL = {
    "LambdaLR": "lambda_lr",
    "MultiplicativeLR": "multiplicative_lr",
    "LambdaLR or MultiplicativeLR": "lambda_lr or multiplicative_lr",
}
"""Schedulers that hold a Python function, and what to write it for. Their state_dicts look alike."""

TOLERANCE = 1e-3
"""Relative. PyTorch may keep the rate in a float32 tensor, whose roundings add up from step to step."""
TOLERANCE_OF_FIRST = 1e-5
"""Relative to the first rate: so much of it may be left where a rate has fallen to zero."""

OF_PLATEAU = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "eps")


def schedule_from_torch(scheduler: Any, group: int = 0, *, optimizer: Any = None) -> Schedule:
    """Build the counterpart of a PyTorch scheduler, from its first step on.

    Args:
        scheduler: a scheduler of `torch.optim.lr_scheduler`, or `SWALR`, at any step, or its `state_dict()`. It counts
            steps as PyTorch does: wrap the result in `schedules.per_epoch` if the script calls `scheduler.step()` once
            an epoch.
        group: number of the parameter group whose learning rate the schedule gives. Default 0.
        optimizer: the optimizer's `state_dict()`, in whose groups `OneCycleLR` and `SWALR` keep their numbers; only
            with a `state_dict` of those. Default None.

    Returns:
        The schedule, a function of the count.

    Raises:
        TypeError: if `scheduler` is not one of PyTorch's schedulers.
        ValueError: if it holds a Python function, which cannot be compiled, is a `ReduceLROnPlateau`, whose rate is
            not a function of the count, or needs `optimizer`. Also if the last rate that it knows is another one,
            because the script or a second scheduler changed it.

    Example:
        >>> from jaxtrain import interop
        >>> saved = {"step_size": 2, "gamma": 0.1, "base_lrs": [0.1], "last_epoch": 7}
        >>> schedule = interop.schedule_from_torch(saved)
        >>> [round(float(schedule(count)), 4) for count in range(4)]
        [0.1, 0.1, 0.01, 0.01]

    PyTorch: none.
    """
    saved = read("schedule_from_torch", scheduler, optimizer)
    schedule = schedule_of(saved, group)
    _check_rate(saved, schedule, group)
    return schedule


def momentum_from_torch(scheduler: Any, group: int = 0, *, optimizer: Any = None) -> Schedule:
    """Build the schedule of the momentum that a `OneCycleLR` or `CyclicLR` of PyTorch also drives.

    Args:
        scheduler: the scheduler at any step, or its `state_dict()`.
        group: number of the parameter group. Default 0.
        optimizer: the optimizer's `state_dict()`, needed with the `state_dict` of a `OneCycleLR`. Default None.

    Returns:
        The schedule of the momentum, or of the first of the `betas`: `betas=(momentum, 0.999)`.

    Raises:
        TypeError: if `scheduler` is not one of PyTorch's schedulers.
        ValueError: if it does not drive a momentum, holds a Python function, or needs `optimizer`.

    Example:
        >>> import torch
        >>> from jaxtrain import interop
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9)
        >>> scheduler = torch.optim.lr_scheduler.OneCycleLR(sgd, max_lr=0.1, total_steps=10)
        >>> momentum = interop.momentum_from_torch(scheduler)
        >>> ours = interop.optimizer_from_torch(sgd, lr=interop.schedule_from_torch(scheduler), momentum=momentum)
        >>> [round(float(momentum(count)), 2) for count in (0, 2, 9)]
        [0.95, 0.85, 0.95]

    PyTorch: none.
    """
    saved = read("momentum_from_torch", scheduler, optimizer)
    if saved.kind not in ("OneCycleLR", "CyclicLR") or not saved["cycle_momentum"]:
        raise ValueError(f"{saved.where}: expected a scheduler that cycles the momentum, got {saved.kind} without it")
    saved.check_group(group)
    if saved.kind == "CyclicLR":
        ends = saved["base_momentums"][group], saved["max_momentums"][group]
        return schedules.cyclic_momentum(*ends, **_cycle(saved))
    ends = saved.of_group("base_momentum", group), saved.of_group("max_momentum", group)
    return schedules.one_cycle_momentum(*ends, **_phases(saved))


def plateau_from_torch(scheduler: Any, group: int = 0) -> Plateau:
    """Build the counterpart of a `ReduceLROnPlateau` of PyTorch, from its current rate on.

    Args:
        scheduler: the `ReduceLROnPlateau` at any epoch, or its `state_dict()`.
        group: number of the parameter group whose learning rate the rule gives. Default 0.

    Returns:
        The rule, whose first rate is the scheduler's current one. `load_scheduler(rule, state_dict)` gives the state
        in which to continue.

    Raises:
        TypeError: if `scheduler` is not one of PyTorch's schedulers.
        ValueError: if it is not a `ReduceLROnPlateau`, or has not seen a metric, so that it does not know the rate.

    Example:
        >>> import torch
        >>> from jaxtrain import interop
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
        >>> scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(sgd, patience=3)
        >>> scheduler.step(2.5)
        >>> rule = interop.plateau_from_torch(scheduler)
        >>> round(float(rule.init().lr), 4), float(interop.load_scheduler(rule, scheduler.state_dict()).best)
        (0.1, 2.5)

    PyTorch: none.
    """
    saved = read("plateau_from_torch", scheduler)
    if saved.kind != "ReduceLROnPlateau":
        raise ValueError(f"{saved.where}: expected a ReduceLROnPlateau, got {saved.kind}; use schedule_from_torch")
    rates = saved["_last_lr"]
    saved.check_group(group)
    rule = {name: saved[name] for name in OF_PLATEAU}
    return schedules.reduce_lr_on_plateau(float(rates[group]), **rule, min_lr=float(saved["min_lrs"][group]))


def schedule_of(saved: SavedScheduler, group: int) -> Schedule:
    """The schedule of a group."""
    where, kind = saved.where, saved.kind
    if saved.parts:
        parts = [schedule_of(part, group) for part in saved.parts]
        if kind == "ChainedScheduler":
            return schedules.chained_scheduler(parts)
        return schedules.sequential_lr(parts, list(saved["_milestones"]))
    if kind in FUNCTIONAL:
        raise ValueError(
            f"{where}: {kind} holds a Python function; write it with jax.numpy for schedules.{FUNCTIONAL[kind]}"
        )
    if kind == "ReduceLROnPlateau":
        raise ValueError(f"{where}: the rate of {kind} depends on a metric; use plateau_from_torch")
    saved.check_group(group)
    lr = float(saved["base_lrs"][group])
    if kind in SAME_NAMES:
        make, names = SAME_NAMES[kind]
        return make(lr, **{name: saved[name] for name in names})
    return OTHERS[kind](lr, saved, group)


def _check_rate(saved: SavedScheduler, schedule: Schedule, group: int) -> None:
    """Raise if the optimizer's rate, as the scheduler last saw it, differs from the schedule's."""
    if "_last_lr" not in saved.values:
        return
    with jax.enable_x64(True):
        expected, got = float(saved["_last_lr"][group]), float(schedule(saved.count))
    if abs(expected - got) > TOLERANCE * max(expected, got) + TOLERANCE_OF_FIRST * _first_rate(saved, group):
        raise ValueError(
            f"{saved.where}: expected the rate {expected:g} after {saved.count} steps, got {got:g} from this "
            f"{saved.kind} alone; the script, another scheduler or a class derived from it changed the rate: write the "
            "schedule with jaxtrain.schedules"
        )


def _first_rate(saved: SavedScheduler, group: int) -> float:
    """The rate that the optimizer was made with."""
    return max(_first_rate(part, group) for part in saved.parts) if saved.parts else float(saved["base_lrs"][group])


def _multi_step(lr: float, saved: SavedScheduler, group: int) -> Schedule:
    milestones: Mapping[int, int] = saved["milestones"]
    repeated = [int(step) for step, number in milestones.items() for _ in range(number)]
    return schedules.multi_step_lr(lr, sorted(repeated), saved["gamma"])


def _swa(lr: float, saved: SavedScheduler, group: int) -> Schedule:
    return schedules.swa_lr(lr, saved.of_group("swa_lr", group), saved["anneal_epochs"], saved["_anneal_strategy"])


def _one_cycle(lr: float, saved: SavedScheduler, group: int) -> Schedule:
    initial, largest, last = (float(saved.of_group(name, group)) for name in ("initial_lr", "max_lr", "min_lr"))
    return schedules.one_cycle_lr(
        largest, div_factor=largest / initial, final_div_factor=initial / last, **_phases(saved)
    )


def _cyclic(lr: float, saved: SavedScheduler, group: int) -> Schedule:
    return schedules.cyclic_lr(lr, saved["max_lrs"][group], **_cycle(saved))


def _phases(saved: SavedScheduler) -> dict[str, Any]:
    """The arguments that `one_cycle_lr` and `one_cycle_momentum` have in common."""
    phases, steps = saved["_schedule_phases"], saved["total_steps"]
    return {
        "total_steps": steps,
        "pct_start": (phases[0]["end_step"] + 1) / steps,
        "anneal_strategy": saved["_anneal_func_type"],
        "three_phase": len(phases) == 3,
    }


def _cycle(saved: SavedScheduler) -> dict[str, Any]:
    """The arguments that `cyclic_lr` and `cyclic_momentum` have in common."""
    if saved["_scale_fn_custom"] is not None or saved["mode"] not in ("triangular", "triangular2", "exp_range"):
        raise ValueError(
            f"{saved.where}: this CyclicLR holds a Python function; write it with jax.numpy for the scale_fn of "
            "schedules.cyclic_lr"
        )
    up = saved["total_size"] * saved["step_ratio"]
    return {
        "step_size_up": up,
        "step_size_down": saved["total_size"] - up,
        "mode": saved["mode"],
        "gamma": saved["gamma"],
        "scale_mode": saved["scale_mode"],
    }


OTHERS: dict[str, Callable[[float, SavedScheduler, int], Schedule]] = {
    "MultiStepLR": _multi_step,
    "OneCycleLR": _one_cycle,
    "CyclicLR": _cyclic,
    "SWALR": _swa,
}
"""Schedulers that keep them in another form."""
