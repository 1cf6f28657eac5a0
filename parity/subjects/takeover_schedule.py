"""Schedulers of runs that change the framework half way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from jaxtrain import interop, nn, optim
from jaxtrain.schedules import PlateauState, Schedule
from jaxtrain.train import TrainState
from parity._compilation import compiler_options
from parity._quiet import quietly
from parity.subjects.plateau import FIELDS, PlateauCase
from parity.subjects.schedule import VALUE, ScheduleCase
from parity.subjects.takeover import Framework
from parity.trace import Quantity, Trace

Saved = Mapping[str, Any]
Read = Callable[[Saved, Saved], Schedule]
"""Our schedule from the `state_dict` of a scheduler and of its optimizer."""

HANDOVER = 23
"""How many steps the first framework makes."""


def read_rate(saved: Saved, optimizer: Saved) -> Schedule:
    """The schedule of the learning rate."""
    return interop.schedule_from_torch(saved, optimizer=optimizer)


def read_momentum(saved: Saved, optimizer: Saved) -> Schedule:
    """The schedule of the momentum."""
    return interop.momentum_from_torch(saved, optimizer=optimizer)


def load_schedule(saved: Saved, schedule: Schedule) -> int:
    """The count at which a run of PyTorch goes on."""
    state = TrainState.create(nn.Linear(1, 1, rngs=nnx.Rngs(0)), optim.sgd(schedule))
    return int(interop.load_scheduler(state, saved).opt_state.count)


def give_schedule(count: int, like: Saved, optimizer: Saved, schedule: Schedule) -> Saved:
    """The scheduler's state for PyTorch."""
    return interop.scheduler_state_dict(count, like, schedule=schedule, optimizer=optimizer)


@dataclass(frozen=True, eq=False, kw_only=True)
class ScheduleTakeoverCase(ScheduleCase):
    """The second half of a schedule that began in the other framework, against PyTorch's whole schedule.

    Attributes:
        ours: `load_schedule` or `give_schedule`.
        begins: the framework of the first half.
        key: what the scheduler changes in the optimizer's group.
        schedule: how our schedule is read from what PyTorch saved.
    """

    begins: Framework
    steps: int = 2 * HANDOVER
    key: str = "lr"
    schedule: Read = read_rate

    def run_torch(self, dtype: str) -> Trace:
        whole = super().run_torch(dtype)
        return {VALUE: whole[VALUE][HANDOVER:]} if dtype == "float64" else whole

    def run_ours(self, ours: Callable[..., Any], dtype: str) -> Trace:
        optimizer, scheduler = self._torch_side()
        if self.begins == "torch":
            self._values(optimizer, scheduler, HANDOVER)
            saved = scheduler.state_dict()
            schedule = self.schedule(saved, optimizer.state_dict())
            counts = ours(saved, schedule) + jnp.arange(self.steps - HANDOVER)
            values = jax.jit(jax.vmap(schedule), compiler_options=compiler_options(dtype))(counts)
            return {VALUE: np.asarray(values, np.float64)}
        like, groups = scheduler.state_dict(), optimizer.state_dict()
        schedule = self.schedule(like, groups)
        rates = read_rate(like, groups) if self.key != "lr" else schedule
        saved = ours(HANDOVER, like, groups, rates)
        scheduler.load_state_dict(dict(saved))
        group = optimizer.param_groups[0]
        with jax.enable_x64(True):
            group |= {"lr": saved["_last_lr"][0]} | ({} if self.key == "lr" else {self.key: float(schedule(HANDOVER))})
        values = self._values(optimizer, scheduler, self.steps - HANDOVER + 1)[:-1]
        return {VALUE: values.astype(dtype).astype(np.float64)}

    def _torch_side(self) -> tuple[torch.optim.Optimizer, Any]:
        optimizer = torch.optim.SGD([torch.zeros((), requires_grad=True)], lr=self.lr, momentum=0.9)
        scheduler = quietly(self.reference)(optimizer)
        optimizer.step()
        return optimizer, scheduler

    def _values(self, optimizer: torch.optim.Optimizer, scheduler: Any, steps: int) -> np.ndarray:
        """The values before each of some steps."""
        values = []
        for _ in range(steps):
            values.append(self.read(optimizer.param_groups[0]))
            scheduler.step()
        return np.array(values)


def load_plateau(saved: Saved) -> tuple[Any, PlateauState]:
    """The rule of a run of PyTorch, and what it remembers."""
    rule = interop.plateau_from_torch(saved)
    return rule, interop.load_scheduler(rule, saved)


def give_plateau(state: PlateauState, like: Saved) -> Saved:
    """What the rule remembers for PyTorch."""
    return interop.scheduler_state_dict(state, like)


@dataclass(frozen=True, eq=False, kw_only=True)
class PlateauTakeoverCase(PlateauCase):
    """The second half of a run whose rate falls on plateaus and that began in the other framework.

    Attributes:
        ours: `load_plateau` or `give_plateau`.
        begins: the framework of the first half.
    """

    begins: Framework

    def run_torch(self, dtype: str) -> Trace:
        whole = super().run_torch(dtype)
        return {name: values[HANDOVER:] for name, values in whole.items()} if dtype == "float64" else whole

    def run_ours(self, ours: Callable[..., Any], dtype: str) -> Trace:
        optimizer = torch.optim.SGD([torch.zeros((), requires_grad=True)], lr=self.lr)
        scheduler = self.reference(optimizer)
        first, second = self.metrics[:HANDOVER], self.metrics[HANDOVER:]
        if self.begins == "torch":
            for metric in first.tolist():
                scheduler.step(metric)
            rule, memory = ours(scheduler.state_dict())
            found = self._history(rule, memory, second, dtype)
            return {Quantity(name): np.asarray(getattr(found, name), np.float64) for name in FIELDS}
        rule = interop.plateau_from_torch(scheduler)
        found = self._history(rule, rule.init(), first, dtype)
        saved = ours(jax.tree.map(lambda values: values[-1], found), scheduler.state_dict())
        scheduler.load_state_dict(dict(saved))
        optimizer.param_groups[0]["lr"] = saved["_last_lr"][0]
        history = []
        for metric in second.tolist():
            scheduler.step(metric)
            history.append(
                [optimizer.param_groups[0]["lr"], *(getattr(scheduler, name) for name in FIELDS if name != "lr")]
            )
        values = np.array(history, np.float64).T.astype(dtype).astype(np.float64)
        return dict(zip(map(Quantity, FIELDS), values, strict=True))

    def _history(self, rule: Any, state: PlateauState, metrics: np.ndarray, dtype: str) -> PlateauState:
        """The states after each epoch."""

        def epoch(state: PlateauState, metric: jax.Array) -> tuple[PlateauState, PlateauState]:
            state = rule.update(state, metric)
            return state, state

        run = jax.jit(lambda *given: jax.lax.scan(epoch, *given)[1], compiler_options=compiler_options(dtype))
        return run(state, jnp.asarray(metrics, dtype))
