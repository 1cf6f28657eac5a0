"""Mistakes in weight decay."""

from collections.abc import Iterator
from typing import Any

import torch

from parity.diff.recipe import Recipe, Training
from parity.diff.training.mistake import TrainingMistake, changed, with_options


def mistakes(recipe: Recipe, started: Training) -> Iterator[TrainingMistake]:
    groups = started.optimizer.param_groups
    decays = {group.get("weight_decay", 0.0) for group in groups}
    largest = max(decays)
    kind = type(started.optimizer)
    if kind is torch.optim.AdamW:
        yield TrainingMistake(
            "the weight decay is added to the gradient (as in Adam), AdamW's shrinks the weights",
            "use optim.adamw",
            with_options(recipe, decoupled_weight_decay=False),
        )
    elif kind is torch.optim.Adam and largest:
        yield TrainingMistake(
            "the weight decay shrinks the weights (as in AdamW), Adam's is added to the gradient",
            "use optim.adam(weight_decay=...)",
            with_options(recipe, decoupled_weight_decay=True),
        )
    elif kind is torch.optim.SGD and largest:
        yield TrainingMistake(
            "the weight decay shrinks the weights, SGD's is added to the gradient, before the momentum",
            "put optax.add_decayed_weights before the momentum, or use optim.sgd(weight_decay=...)",
            changed(recipe, _decoupled),
        )
    if len(decays) > 1:
        yield TrainingMistake(
            "all parameters decay, in PyTorch not all do (norms and biases do not, perhaps)",
            "pass a mask, or use optim.param_groups",
            with_options(recipe, weight_decay=largest),
        )
    if len(decays) > 1:

        def by_axes(optimizer: torch.optim.Optimizer) -> None:
            for group in optimizer.param_groups:
                group["weight_decay"] = largest
            _spare_vectors(optimizer)

        yield TrainingMistake(
            "all arrays of two or more axes decay, in PyTorch not all do (class tokens or tables do not, perhaps)",
            "pass a mask, or use optim.param_groups",
            changed(recipe, by_axes),
        )
    if largest:
        yield TrainingMistake(
            "there is no weight decay", f"pass weight_decay={largest:g}", with_options(recipe, weight_decay=0.0)
        )

        yield TrainingMistake(
            "vectors (biases and norms) do not decay, in PyTorch they do",
            "decay all parameters, without a mask",
            changed(recipe, _spare_vectors),
        )
        if kind is torch.optim.AdamW:
            yield TrainingMistake(
                "the weight decay is not multiplied by the learning rate, PyTorch's is",
                "multiply it by the learning rate",
                changed(recipe, _decoupled),
            )
    for value in (1e-4, 1e-2):
        if decays != {value}:
            yield TrainingMistake(
                f"the weight decay is {value:g} (a default), PyTorch's is {largest:g}",
                f"pass weight_decay={largest:g}",
                with_options(recipe, weight_decay=value),
            )


def _spare_vectors(optimizer: torch.optim.Optimizer) -> None:
    for group in list(optimizer.param_groups):
        flat = [p for p in group["params"] if p.ndim < 2]
        if flat:
            group["params"] = [p for p in group["params"] if p.ndim >= 2]
            optimizer.add_param_group({**group, "params": flat, "weight_decay": 0.0})


def _decoupled(optimizer: torch.optim.Optimizer) -> None:
    """Let the weights shrink outside of the optimizer: in SGD by decay times rate, in AdamW by the decay alone."""
    decays = [(group, group["weight_decay"]) for group in optimizer.param_groups]
    for group, _ in decays:
        group["weight_decay"] = 0.0
    rated = type(optimizer) is torch.optim.SGD

    def shrink(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for group, decay in decays:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.data.mul_(1 - decay * (group["lr"] if rated else 1.0))

    optimizer.register_step_pre_hook(shrink)
