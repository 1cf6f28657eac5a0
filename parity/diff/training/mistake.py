"""What a known mistake in training is."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from parity.diff.recipe import Recipe


@dataclass(frozen=True)
class TrainingMistake:
    """A way in which ports train wrongly.

    Attributes:
        says: what the port does, and what PyTorch does.
        fix: what to change.
        recipe: PyTorch's recipe with the mistake in it.
    """

    says: str
    fix: str
    recipe: Recipe


def changed(recipe: Recipe, change: Callable[[torch.optim.Optimizer], Any]) -> Recipe:
    """The recipe with its optimizer changed after it is made."""

    def optimizer(module: torch.nn.Module) -> torch.optim.Optimizer:
        made = recipe.optimizer(module)
        return change(made) or made

    return replace(recipe, optimizer=optimizer)


def with_options(recipe: Recipe, **values: Any) -> Recipe:
    """The recipe with other options in all groups of its optimizer."""

    def change(optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:
            group.update(values)

    return changed(recipe, change)
