"""How PyTorch trains: what happens after `backward()`, as data, so that it can be run again with a mistake in it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Recipe:
    """What PyTorch's loop does with the gradients of a step.

    Attributes:
        optimizer: makes the optimizer from the module, parameter groups included.
        scheduler: makes the scheduler from the optimizer; it steps after each step of the optimizer.
        max_norm: of `clip_grad_norm_`, before the optimizer; None for no clipping.
        max_value: of `clip_grad_value_`, before the optimizer; None for no clipping.
    """

    optimizer: Callable[[torch.nn.Module], torch.optim.Optimizer]
    scheduler: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None = None
    max_norm: float | None = None
    max_value: float | None = None

    def start(self, module: torch.nn.Module) -> "Training":
        """Make the optimizer and the scheduler."""
        optimizer = self.optimizer(module)
        return Training(self, module, optimizer, self.scheduler(optimizer) if self.scheduler else None)


@dataclass
class Training:
    """A recipe on its way."""

    recipe: Recipe
    module: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler | None

    def step(self) -> float:
        """One step on the gradients of the module; the learning rate that it took."""
        if self.recipe.max_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.max_norm)
        if self.recipe.max_value is not None:
            torch.nn.utils.clip_grad_value_(self.module.parameters(), self.recipe.max_value)
        rate = float(self.optimizer.param_groups[0]["lr"])
        self.optimizer.step()
        if self.scheduler:
            self.scheduler.step()
        return rate
