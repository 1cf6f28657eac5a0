"""Mistakes in the schedule of the learning rate."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from parity.diff.recipe import Recipe
from parity.diff.training.mistake import TrainingMistake


def mistakes(recipe: Recipe) -> Iterator[TrainingMistake]:
    if recipe.scheduler is None:
        return
    make = recipe.scheduler

    def ahead(optimizer: torch.optim.Optimizer) -> Any:
        scheduler = make(optimizer)
        optimizer._opt_called = True  # type: ignore[attr-defined]  # The warning about the order is not meant for us.
        scheduler.step()
        return scheduler

    class Behind:
        def __init__(self, optimizer: torch.optim.Optimizer):
            self.scheduler, self.first = make(optimizer), True

        def step(self) -> None:
            if not self.first:
                self.scheduler.step()
            self.first = False

    yield TrainingMistake(
        "the schedule is one step ahead", "pass the count from 0 on", replace(recipe, scheduler=ahead)
    )
    yield TrainingMistake(
        "the schedule is one step behind",
        "pass the count from 0 on",
        replace(recipe, scheduler=Behind),  # type: ignore[arg-type]
    )
    yield TrainingMistake(
        "the learning rate does not follow the schedule", "pass the schedule as lr", replace(recipe, scheduler=None)
    )
