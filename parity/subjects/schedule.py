"""Schedules, step by step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
import torch

from parity._compilation import compiler_options
from parity.case import Case
from parity.trace import Quantity, Trace

VALUE = Quantity("value")


@dataclass(frozen=True, eq=False, kw_only=True)
class ScheduleCase(Case):
    """A schedule against what a PyTorch scheduler writes into its optimizer.

    A schedule in PyTorch is a Python float, so its float32 value is the float64 one rounded, and the precision verdict
    allows one float32 ulp.

    Attributes:
        ours: `schedule(count)`.
        reference: makes the scheduler on a given optimizer.
        lr: the optimizer's learning rate.
        steps: how many steps PyTorch takes.
        every: how many of them lie between two values that are compared.
        read: which value of the optimizer's parameter group the schedule is, such as `momentum`.
    """

    reference: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]
    lr: float = 0.1
    steps: int = 100_000
    every: int = 1
    read: Callable[[dict], float] = lambda group: group["lr"]

    draws: ClassVar[tuple[int, ...]] = (1,)

    def redrawn(self, number: int) -> Self:
        """The case itself: it draws nothing."""
        return self

    def run_torch(self, dtype: str) -> Trace:
        if dtype != "float64":
            return {VALUE: self.truth[VALUE].astype(dtype).astype(np.float64)}
        optimizer = torch.optim.SGD([torch.zeros((), requires_grad=True)], lr=self.lr, momentum=0.9)
        scheduler = self.reference(optimizer)
        values = np.empty(self.steps)
        optimizer.step()
        for step in range(self.steps):
            values[step] = self.read(optimizer.param_groups[0])
            if step < self.steps - 1:
                scheduler.step()
        return {VALUE: values[:: self.every]}

    def run_ours(self, ours: Callable[[jax.Array], jax.Array], dtype: str) -> Trace:
        compiled = jax.jit(jax.vmap(ours), compiler_options=compiler_options(dtype))
        values = compiled(jnp.arange(0, self.steps, self.every))
        if values.dtype != dtype:
            raise AssertionError(f"{self.name}: expected {dtype}, got {values.dtype}")
        return {VALUE: np.asarray(values, np.float64)}

    def units(self, truth: Trace) -> Trace:
        """The magnitude of each value."""
        return {VALUE: np.abs(truth[VALUE])}
