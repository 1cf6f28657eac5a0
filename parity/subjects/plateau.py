"""Reduction of the rate on a plateau, epoch by epoch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
import torch

from jaxtrain.schedules import Plateau
from parity._compilation import compiler_options
from parity.case import Case
from parity.trace import Quantity, Trace

FIELDS = ("lr", "best", "num_bad_epochs", "cooldown_counter")
"""What is compared, by its name in the state of ours."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PlateauCase(Case):
    """A `Plateau` against `ReduceLROnPlateau`: its rate and everything that it remembers.

    Attributes:
        ours: the pair of functions.
        reference: makes the scheduler on a given optimizer.
        metrics: one float32 metric an epoch.
        lr: the optimizer's learning rate.
    """

    reference: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.ReduceLROnPlateau]
    metrics: np.ndarray
    lr: float = 0.1

    draws: ClassVar[tuple[int, ...]] = (1,)
    inputs_in: ClassVar[tuple[str, ...]] = ("metrics",)

    def redrawn(self, number: int) -> Self:
        """The case itself: how it decides depends on every digit of the metrics."""
        return self

    def run_torch(self, dtype: str) -> Trace:
        if dtype != "float64":
            return {quantity: values.astype(dtype).astype(np.float64) for quantity, values in self.truth.items()}
        optimizer = torch.optim.SGD([torch.zeros((), requires_grad=True)], lr=self.lr)
        scheduler = self.reference(optimizer)
        history = []
        for metric in self.metrics.tolist():
            scheduler.step(metric)
            history.append(
                (
                    optimizer.param_groups[0]["lr"],
                    scheduler.best,
                    scheduler.num_bad_epochs,
                    scheduler.cooldown_counter,
                )
            )
        return dict(zip(map(Quantity, FIELDS), np.array(history, np.float64).T, strict=True))

    def run_ours(self, ours: Plateau, dtype: str) -> Trace:
        def epoch(state, metric):
            state = ours.update(state, metric)
            return state, state

        run = jax.jit(
            lambda metrics: jax.lax.scan(epoch, ours.init(), metrics)[1], compiler_options=compiler_options(dtype)
        )
        states = run(jnp.asarray(self.metrics, dtype))
        return {Quantity(name): np.asarray(getattr(states, name), np.float64) for name in FIELDS}

    def units(self, truth: Trace) -> Trace:
        """The magnitude of each value."""
        return {quantity: np.abs(values) for quantity, values in truth.items()}
