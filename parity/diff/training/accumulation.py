"""Mistakes in accumulating gradients over several batches."""

from collections.abc import Iterator
from dataclasses import replace

from parity.diff.recipe import Recipe
from parity.diff.training.mistake import TrainingMistake

KINDS = {
    "mean": ("are averaged", "divide each batch's loss by the number of batches, or use optax.MultiSteps"),
    "sum": ("are summed", "do not divide by the number of batches"),
    "examples": (
        "are averaged with the number of examples as weights",
        "multiply each batch's mean by its number of examples, and divide by the number of all",
    ),
}


def mistakes(recipe: Recipe) -> Iterator[TrainingMistake]:
    if recipe.accumulate == 1:
        for count in (2, 4, 8):
            yield TrainingMistake(
                f"the gradients of {count} batches make one step, in PyTorch those of one do",
                "remove optax.MultiSteps",
                replace(recipe, accumulate=count),
            )
        return
    for kind in KINDS:
        if kind != recipe.accumulation:
            yield TrainingMistake(
                f"the gradients of the batches {KINDS[kind][0]}, PyTorch's {KINDS[recipe.accumulation][0]}",
                KINDS[recipe.accumulation][1],
                replace(recipe, accumulation=kind),  # type: ignore[arg-type]  # The keys are its values.
            )
    yield TrainingMistake(
        f"each batch makes a step, PyTorch accumulates {recipe.accumulate}",
        f"use optax.MultiSteps(tx, {recipe.accumulate})",
        replace(recipe, accumulate=1),
    )
    for count in range(2, 2 * recipe.accumulate + 1):
        if count != recipe.accumulate:
            yield TrainingMistake(
                f"the gradients of {count} batches make one step, in PyTorch those of {recipe.accumulate} do",
                f"accumulate {recipe.accumulate}",
                replace(recipe, accumulate=count),
            )
    if recipe.max_norm is not None or recipe.max_value is not None:
        for kind in (recipe.accumulation, *KINDS):
            yield TrainingMistake(
                "the accumulated gradients are clipped, PyTorch clips each batch's"
                if recipe.clips_batches
                else "each batch's gradients are clipped before they are accumulated, PyTorch's after",
                f"put the clipping {'outside' if recipe.clips_batches else 'inside'} of optax.MultiSteps",
                replace(recipe, clips_batches=not recipe.clips_batches, accumulation=kind),  # type: ignore[arg-type]
            )
    if recipe.scheduler is not None:
        yield TrainingMistake(
            "the schedule counts the steps of the optimizer, PyTorch's counts batches"
            if recipe.schedules_batches
            else "the schedule counts batches, PyTorch's counts the steps of the optimizer",
            "count what PyTorch counts: a schedule inside of optax.MultiSteps counts steps",
            replace(recipe, schedules_batches=not recipe.schedules_batches),
        )
