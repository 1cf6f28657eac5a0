"""A schedule of this package with the arguments of PyTorch's scheduler."""

from collections.abc import Callable
from typing import Any

from jaxtrain import schedules
from jaxtrain.schedules import Schedule

Attributes = dict[str, Any]

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


def schedule_from_torch(scheduler: Any, group: int = 0) -> Schedule:
    """Build the schedule that a PyTorch scheduler is, from its first step on.

    Args:
        scheduler: a scheduler of `torch.optim.lr_scheduler`, or `SWALR`, at any step. It counts steps as PyTorch does:
            wrap the result in `schedules.per_epoch` if the script calls `scheduler.step()` once an epoch.
        group: number of the parameter group whose learning rate the schedule gives. Default 0.

    Returns:
        The schedule, a function of the count.

    Raises:
        TypeError: if `scheduler` is not one of PyTorch's schedulers.
        ValueError: if it holds a Python function, which cannot be compiled, or is a `ReduceLROnPlateau`, whose rate is
            not a function of the count.

    Example:
        >>> import torch
        >>> from jaxtrain import interop
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
        >>> schedule = interop.schedule_from_torch(torch.optim.lr_scheduler.StepLR(optimizer, step_size=2))
        >>> [round(float(schedule(count)), 4) for count in range(4)]
        [0.1, 0.1, 0.01, 0.01]

    PyTorch: none.
    """
    where, kind, has = "schedule_from_torch", type(scheduler).__name__, vars(scheduler)
    if kind in ("SequentialLR", "ChainedScheduler"):
        parts = [schedule_from_torch(part, group) for part in has["_schedulers"]]
        return (
            schedules.chained_scheduler(parts) if kind[0] == "C" else schedules.sequential_lr(parts, has["_milestones"])
        )
    if kind in ("LambdaLR", "MultiplicativeLR"):
        ours = "lambda_lr" if kind == "LambdaLR" else "multiplicative_lr"
        raise ValueError(f"{where}: {kind} holds a Python function; write it with jax.numpy for schedules.{ours}")
    if kind == "ReduceLROnPlateau":
        raise ValueError(f"{where}: the rate of {kind} depends on a metric; use schedules.reduce_lr_on_plateau")
    if "base_lrs" not in has or not (kind in SAME_NAMES or kind in OTHERS):
        raise TypeError(f"{where}: expected a scheduler of torch.optim.lr_scheduler, got {kind}")
    if not 0 <= group < len(has["base_lrs"]):
        raise ValueError(f"{where}: group must be from 0 to {len(has['base_lrs']) - 1}, got {group}")
    lr = float(has["base_lrs"][group])
    if kind in SAME_NAMES:
        make, names = SAME_NAMES[kind]
        return make(lr, **{name: has[name] for name in names})
    return OTHERS[kind](lr, has, scheduler.optimizer.param_groups[group], group)


def _multi_step(lr: float, has: Attributes, own: Attributes, group: int) -> Schedule:
    return schedules.multi_step_lr(lr, sorted(has["milestones"].elements()), has["gamma"])


def _swa(lr: float, has: Attributes, own: Attributes, group: int) -> Schedule:
    return schedules.swa_lr(lr, own["swa_lr"], has["anneal_epochs"], has["_anneal_strategy"])


def _one_cycle(lr: float, has: Attributes, own: Attributes, group: int) -> Schedule:
    phases, steps = has["_schedule_phases"], has["total_steps"]
    return schedules.one_cycle_lr(
        own["max_lr"],
        steps,
        pct_start=(phases[0]["end_step"] + 1) / steps,
        anneal_strategy=has["_anneal_func_type"],
        div_factor=own["max_lr"] / own["initial_lr"],
        final_div_factor=own["initial_lr"] / own["min_lr"],
        three_phase=len(phases) == 3,
    )


def _cyclic(lr: float, has: Attributes, own: Attributes, group: int) -> Schedule:
    if has["_scale_fn_custom"] is not None:
        raise ValueError(
            "schedule_from_torch: this CyclicLR holds a Python function; write it with jax.numpy for the scale_fn of "
            "schedules.cyclic_lr"
        )
    up = has["total_size"] * has["step_ratio"]
    return schedules.cyclic_lr(
        lr, has["max_lrs"][group], up, has["total_size"] - up, has["mode"], has["gamma"], scale_mode=has["scale_mode"]
    )


OTHERS: dict[str, Callable[[float, Attributes, Attributes, int], Schedule]] = {
    "MultiStepLR": _multi_step,
    "OneCycleLR": _one_cycle,
    "CyclicLR": _cyclic,
    "SWALR": _swa,
}
"""Schedulers that keep them in another form."""
