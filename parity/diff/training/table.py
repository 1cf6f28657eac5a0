"""The table of known mistakes in training. The likely ones come first."""

import copy
from collections.abc import Iterator

import torch

from parity.diff.recipe import Recipe
from parity.diff.training import accumulation, clipping, decay, formulas, numbers, schedule
from parity.diff.training.mistake import TrainingMistake


def training_mistakes(module: torch.nn.Module, recipe: Recipe) -> Iterator[TrainingMistake]:
    """The mistakes that ports make with this recipe."""
    started = recipe.start(copy.deepcopy(module))
    yield from decay.mistakes(recipe, started)
    yield from accumulation.mistakes(recipe)
    yield from numbers.mistakes(recipe, started)
    yield from schedule.mistakes(recipe)
    yield from clipping.mistakes(recipe, started)
    yield from formulas.mistakes(recipe, started)
