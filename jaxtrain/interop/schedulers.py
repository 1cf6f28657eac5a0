"""The states of schedulers, from and to the `state_dict` of PyTorch's."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp

from jaxtrain._ground.checks import check_integer
from jaxtrain.interop._nodes import counted, with_count
from jaxtrain.interop._saved_scheduler import SavedScheduler, read
from jaxtrain.interop.from_scheduler import schedule_of
from jaxtrain.schedules import Plateau, PlateauState, Schedule
from jaxtrain.train.state import TrainState

TOLERANCE = 1e-6
"""Relative: rates are float32 here."""


@overload
def load_scheduler(
    target: TrainState, state_dict: Mapping[str, Any], *, steps_per_epoch: int = 1, group: int = 0
) -> TrainState: ...
@overload
def load_scheduler(
    target: Plateau, state_dict: Mapping[str, Any], *, steps_per_epoch: int = 1, group: int = 0
) -> PlateauState: ...
def load_scheduler(
    target: TrainState | Plateau, state_dict: Mapping[str, Any], *, steps_per_epoch: int = 1, group: int = 0
) -> TrainState | PlateauState:
    """Load how far PyTorch's scheduler has come.

    A schedule here is a function of the count of updates, which the optimizer's state keeps. `load_optimizer` sets that
    count to the optimizer's number of steps, which is right unless the scheduler has made another number of steps, for
    instance because steps with infinite gradients were skipped.

    Args:
        target: a train state whose optimizer has schedules; or, for a `ReduceLROnPlateau`, the rule that
            `schedules.reduce_lr_on_plateau` or `plateau_from_torch` returned.
        state_dict: what `state_dict()` of PyTorch's scheduler returned, or the scheduler.
        steps_per_epoch: how many updates there are between two steps of the scheduler; above 1 with
            `schedules.per_epoch`. A count within the scheduler's epoch stays as it is. Default 1.
        group: number of the parameter group whose rate a `ReduceLROnPlateau` gives to the rule. Default 0.

    Returns:
        A new train state whose schedules continue where PyTorch's scheduler stopped. For a rule the state in which it
        continues, which `train.ReduceLROnPlateau` takes as `memory`.

    Raises:
        TypeError: if `target` is neither a train state nor a rule, or `state_dict` is not that of a scheduler.
        ValueError: if a `ReduceLROnPlateau` meets a train state, or another scheduler a rule; or if no number of
            reductions takes the rule's first rate to PyTorch's.

    Example:
        >>> from flax import nnx
        >>> from jaxtrain import interop, nn, optim, schedules, train
        >>> optimizer = optim.sgd(schedules.step_lr(0.1, step_size=3), momentum=0.9)
        >>> state = train.TrainState.create(nn.Linear(2, 1, rngs=nnx.Rngs(0)), optimizer)
        >>> state = interop.load_scheduler(state, {"step_size": 3, "gamma": 0.1, "base_lrs": [0.1], "last_epoch": 7})
        >>> int(state.opt_state.count)
        7

    PyTorch: `LRScheduler.load_state_dict`, which also replaces the hyper-parameters.
    """
    where = "load_scheduler"
    saved = read(where, state_dict)
    if isinstance(target, Plateau):
        return _plateau_state(saved, target, group)
    if not isinstance(target, TrainState):
        raise TypeError(
            f"{where}: target must be a TrainState, or the rule of a plateau, got {type(target).__name__}; a schedule "
            "has no state"
        )
    if saved.kind == "ReduceLROnPlateau":
        raise ValueError(f"{where}: a ReduceLROnPlateau has no count; pass a rule, see plateau_from_torch")
    steps = check_integer(where, "steps_per_epoch", steps_per_epoch, 1)
    count = int(target.step)
    if count // steps != saved.count:
        count = check_integer(where, "last_epoch times steps_per_epoch", saved.count * steps, 0, 2**31 - 1)
    if not counted(target.opt_state):
        raise TypeError(f"{where}: expected an optimizer with a schedule, got a state that counts no updates")
    return dataclasses.replace(target, opt_state=with_count(target.opt_state, count))


def scheduler_state_dict(
    source: int | PlateauState,
    like: Mapping[str, Any],
    *,
    schedule: Schedule | Sequence[Schedule] | None = None,
    optimizer: Any = None,
) -> dict[str, Any]:
    """The state of a scheduler in PyTorch's form, to go on there.

    Args:
        source: the number of steps that the scheduler has made, which is the number of updates or of epochs; or, for a
            `ReduceLROnPlateau`, the state of the rule, such as `listener.memory`.
        like: the `state_dict()` of the scheduler in PyTorch that will go on, fresh or not.
        schedule: the schedule as a function of the scheduler's steps, or a list with one for each parameter group;
            needed where PyTorch's scheduler holds a Python function. Default None: `schedule_from_torch(like)`.
        optimizer: the optimizer's `state_dict()`, see `schedule_from_torch`. Default None.

    Returns:
        A dict for PyTorch's `load_state_dict`. Its "_last_lr" has the rate of each group, which the optimizer needs as
        well: `optimizer_state_dict(..., lr=saved["_last_lr"])`.

    Raises:
        TypeError: if `like` is not the `state_dict` of a scheduler, or `source` does not fit it.
        ValueError: if the number is negative, or the schedule cannot be told from `like`.

    Example:
        >>> from jaxtrain import interop
        >>> like = {"gamma": 0.5, "base_lrs": [0.1], "last_epoch": 0, "_step_count": 1, "_last_lr": [0.1]}
        >>> saved = interop.scheduler_state_dict(3, like)
        >>> saved["last_epoch"], saved["_step_count"], saved["_last_lr"]
        (3, 4, [0.0125])

    PyTorch: `LRScheduler.state_dict`.
    """
    where = "scheduler_state_dict"
    if hasattr(like, "state_dict"):
        raise TypeError(f"{where}: expected a state_dict, got a {type(like).__name__}; pass its .state_dict()")
    saved = read(where, like, optimizer)
    if saved.kind == "ReduceLROnPlateau":
        if not isinstance(source, PlateauState):
            raise TypeError(f"{where}: expected the state of a plateau's rule, got {type(source).__name__}")
        return _of_plateau(saved, source)
    if isinstance(source, PlateauState | TrainState):
        raise TypeError(f"{where}: expected the number of steps of this {saved.kind}, got a {type(source).__name__}")
    count = check_integer(where, "source", source, 0)
    with jax.enable_x64(True):
        rates = [float(own(count)) for own in _schedules(saved, schedule)]
    if not all(map(math.isfinite, rates)):
        raise ValueError(f"{where}: expected finite rates after {count} steps of this {saved.kind}, got {rates}")
    return {**_counted(saved, count), "_last_lr": rates}


def _schedules(saved: SavedScheduler, given: Any) -> Sequence[Schedule]:
    """The schedule of each group."""
    number = len(saved["_last_lr"])
    if given is None:
        return [schedule_of(saved, group) for group in range(number)]
    found = given if isinstance(given, list | tuple) else [given] * number
    if len(found) != number or not all(callable(own) for own in found):
        raise TypeError(f"{saved.where}: expected a schedule, or one for each of the {number} groups, got {given}")
    return found


def _counted(saved: SavedScheduler, count: int) -> dict[str, Any]:
    """The attributes of a scheduler after `count` steps, without its rates."""
    values = dict(saved.values)
    if saved.kind == "ChainedScheduler":
        return values | {"_schedulers": [_counted(part, count) for part in saved.parts]}
    if saved.kind == "SequentialLR":
        begins = [0, *saved["_milestones"]]
        ends = [*saved["_milestones"], count + 1]
        return values | {
            "last_epoch": count,
            "_schedulers": [
                _counted(part, min(count, end - 1) - begin) if begin <= count else dict(part.values)
                for part, begin, end in zip(saved.parts, begins, ends, strict=True)
            ],
        }
    if saved.kind == "CosineAnnealingWarmRestarts":
        length, done = saved["T_0"], count
        while done >= length:
            done -= length
            length *= saved["T_mult"]
        return values | {"last_epoch": count, "T_cur": done, "T_i": length}
    # The step with which a part of a SequentialLR begins is not counted.
    return values | {"last_epoch": count, "_step_count": saved["_step_count"] + count - max(saved.count, 0)}


def _plateau_state(saved: SavedScheduler, rule: Plateau, group: int) -> PlateauState:
    if saved.kind != "ReduceLROnPlateau":
        raise ValueError(f"{saved.where}: expected the state of a ReduceLROnPlateau for a rule, got {saved.kind}")
    saved.check_group(group)
    first = rule.init()
    rate, reduced = float(saved["_last_lr"][group]), float(first.lr)
    factor, floor = float(saved["factor"]), float(saved["min_lrs"][group])
    reductions = 0
    while reduced > max(rate * (1 + TOLERANCE), floor):
        reduced, reductions = max(reduced * factor, floor), reductions + 1
    if abs(reduced - rate) > TOLERANCE * rate:
        raise ValueError(
            f"{saved.where}: expected a rate of {rate:g}, got a rule whose first rate {float(first.lr):g} does not "
            f"become that by factors of {factor:g}; give the rule PyTorch's first rate, or use plateau_from_torch"
        )
    new = {name: saved[name] for name in ("best", "num_bad_epochs", "cooldown_counter")}
    new |= {"lr": rate, "num_reductions": reductions}
    return first._replace(**{name: jnp.asarray(value, getattr(first, name).dtype) for name, value in new.items()})


def _of_plateau(saved: SavedScheduler, state: PlateauState) -> dict[str, Any]:
    rates = [float(state.lr)] * len(saved["min_lrs"])
    numbers = {"num_bad_epochs": int(state.num_bad_epochs), "cooldown_counter": int(state.cooldown_counter)}
    return {**saved.values, **numbers, "best": float(state.best), "_last_lr": rates}
