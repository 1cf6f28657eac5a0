"""How PyTorch trains: what happens after `backward()`, as data, so that it can be run again with a mistake in it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch

EXAMPLE = "pass lambda module: torch.optim.SGD(module.parameters(), 0.1)"


@dataclass(frozen=True)
class Recipe:
    """What PyTorch's loop does with the gradients of a batch.

    Attributes:
        optimizer: makes the optimizer from the module, parameter groups included.
        scheduler: makes the scheduler from the optimizer; it steps after each step of the optimizer.
        max_norm: of `clip_grad_norm_`, before the optimizer; None for no clipping.
        max_value: of `clip_grad_value_`, before the optimizer; None for no clipping.
        accumulate: number of batches whose gradients make one step of the optimizer.
        accumulation: their "mean", their "sum", or their mean weighted by the number of "examples" of each batch.
        clips_batches: whether the gradients of each batch are clipped, instead of the accumulated ones.
        schedules_batches: whether the scheduler steps after each batch, instead of each step of the optimizer.

    Example:
        >>> import torch
        >>> from parity import diff
        >>> recipe = diff.Recipe(lambda module: torch.optim.SGD(module.parameters(), 0.1), max_norm=1.0, accumulate=4)
        >>> recipe.accumulation
        'mean'
    """

    optimizer: Callable[[torch.nn.Module], torch.optim.Optimizer]
    scheduler: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None = None
    max_norm: float | None = None
    max_value: float | None = None
    accumulate: int = 1
    accumulation: Literal["mean", "sum", "examples"] = "mean"
    clips_batches: bool = False
    schedules_batches: bool = False

    def __post_init__(self) -> None:
        if not callable(self.optimizer):
            raise TypeError(
                "Recipe: expected the optimizer to be a function of the module, got "
                f"{type(self.optimizer).__name__}; {EXAMPLE}"
            )
        if isinstance(self.optimizer, type):
            raise TypeError(
                "Recipe: expected the optimizer to be a function of the module, got the class "
                f"{self.optimizer.__name__}; {EXAMPLE}"
            )
        if self.scheduler is not None and not callable(self.scheduler):
            raise TypeError(
                "Recipe: expected the scheduler to be a function of the optimizer, got "
                f"{type(self.scheduler).__name__}; pass lambda optimizer: StepLR(optimizer, 10)"
            )
        for name, limit in (("max_norm", self.max_norm), ("max_value", self.max_value)):
            if limit is not None and not (isinstance(limit, int | float) and limit > 0):
                raise ValueError(f"Recipe: expected {name} to be a number above 0, or None, got {limit!r}")
        if type(self.accumulate) is not int or self.accumulate < 1:
            raise ValueError(f"Recipe: expected accumulate to be an integer of at least 1, got {self.accumulate!r}")
        if self.accumulation not in ("mean", "sum", "examples"):
            raise ValueError(
                f'Recipe: expected accumulation to be "mean", "sum" or "examples", got {self.accumulation!r}'
            )

    @property
    def changes_gradients(self) -> bool:
        """Whether a step writes into the gradients of the module."""
        return self.max_norm is not None or self.max_value is not None

    def start(self, module: torch.nn.Module) -> "Training":
        """Make the optimizer and the scheduler."""
        optimizer = self.optimizer(module)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"Recipe: expected PyTorch's optimizer from `optimizer`, got {type(optimizer).__name__}")
        if isinstance(optimizer, torch.optim.LBFGS):
            raise TypeError("Recipe: expected an optimizer that steps without a closure, got LBFGS")
        own = {id(p) for p in module.parameters()}
        if any(id(p) not in own for group in optimizer.param_groups for p in group["params"]):
            raise ValueError(
                "Recipe: expected the optimizer to train the module that the function is given, got one with other "
                f"parameters; {EXAMPLE}"
            )
        return Training(self, module, optimizer, self.scheduler(optimizer) if self.scheduler else None)


@dataclass
class Training:
    """A training run by a recipe.

    Attributes:
        recipe: what it follows.
        module: what it trains.
        optimizer: PyTorch's.
        scheduler: PyTorch's; None if the learning rate stays.
        kept: the gradients of the batches since the last step of the optimizer, and their numbers of examples.
    """

    recipe: Recipe
    module: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler | None
    kept: list[tuple[list[torch.Tensor | None], int]] = field(default_factory=list)

    def step(self, examples: int = 1) -> float:
        """Take the gradients of a batch, and make a step of the optimizer if it is the last one; the learning rate."""
        before = torch.get_default_dtype()
        # PyTorch keeps the numbers of its optimizers, such as NAdam's product, in this dtype.
        torch.set_default_dtype(next(self.module.parameters()).dtype)
        try:
            return self._stepped(examples)
        finally:
            torch.set_default_dtype(before)

    def _stepped(self, examples: int) -> float:
        rate = float(self.optimizer.param_groups[0]["lr"])
        recipe = self.recipe
        if recipe.clips_batches:
            self._clip()
        if recipe.accumulate > 1:
            parameters = list(self.module.parameters())
            self.kept.append(([None if p.grad is None else p.grad.clone() for p in parameters], examples))
            if len(self.kept) < recipe.accumulate:
                self._schedule(recipe.schedules_batches)
                return rate
            self._accumulate(parameters)
        if not recipe.clips_batches:
            self._clip()
        self.optimizer.step()
        self._schedule(True)
        return rate

    def _accumulate(self, parameters: list[torch.nn.Parameter]) -> None:
        total = sum(examples for _, examples in self.kept)
        for index, parameter in enumerate(parameters):
            found = [(g[index], examples) for g, examples in self.kept]
            present = [(g, examples) for g, examples in found if g is not None]
            if present:
                parameter.grad = self._together(present, total)
        self.kept.clear()

    def _together(self, found: list[tuple[torch.Tensor, int]], total: int) -> torch.Tensor:
        shares = [examples / total for _, examples in found]
        weights = {"mean": [1 / self.recipe.accumulate] * len(found), "sum": [1.0] * len(found), "examples": shares}
        chosen = weights[self.recipe.accumulation]
        return torch.stack([g * weight for (g, _), weight in zip(found, chosen, strict=True)]).sum(0)

    def _clip(self) -> None:
        if self.recipe.max_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.max_norm)
        if self.recipe.max_value is not None:
            torch.nn.utils.clip_grad_value_(self.module.parameters(), self.recipe.max_value)

    def _schedule(self, due: bool) -> None:
        if self.scheduler and due:
            self.scheduler.step()
