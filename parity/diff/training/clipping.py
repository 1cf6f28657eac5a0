"""Mistakes in clipping."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from parity.diff.recipe import Recipe, Training
from parity.diff.training.mistake import TrainingMistake, changed

NORMS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


def mistakes(recipe: Recipe, started: Training) -> Iterator[TrainingMistake]:
    if recipe.max_norm is not None:
        yield TrainingMistake(
            "the gradients are not clipped",
            "chain optim.clip_grad_norm before the optimizer",
            replace(recipe, max_norm=None),
        )
        yield TrainingMistake(
            "each value of the gradients is clipped, PyTorch clips their norm",
            "use optim.clip_grad_norm",
            replace(recipe, max_norm=None, max_value=recipe.max_norm),
        )

        def separately(optimizer: torch.optim.Optimizer) -> None:
            optimizer.register_step_pre_hook(
                lambda optimizer, args, kwargs: _clip_each(optimizer, recipe.max_norm or 1.0)
            )

        yield TrainingMistake(
            "the norm of each parameter's gradient is clipped, PyTorch clips the norm of all",
            "use optim.clip_grad_norm, not optax.adaptive_grad_clip or a per-parameter clip",
            replace(changed(recipe, separately), max_norm=None),
        )

        def after(optimizer: torch.optim.Optimizer) -> None:
            _clip_updates(optimizer, recipe.max_norm or 1.0)

        yield TrainingMistake(
            "the updates are clipped, PyTorch clips the gradients",
            "chain the clipping before the optimizer",
            replace(changed(recipe, after), max_norm=None),
        )

        if any(group.get("weight_decay") for group in started.optimizer.param_groups):
            yield TrainingMistake(
                "the weight decay is added before the clipping, PyTorch adds it after",
                "put optax.add_decayed_weights after the clipping, or pass weight_decay to the optimizer",
                replace(changed(recipe, lambda made: _decay_and_clip(made, recipe.max_norm or 1.0)), max_norm=None),
            )

        def exactly(optimizer: torch.optim.Optimizer) -> None:
            optimizer.register_step_pre_hook(
                lambda optimizer, args, kwargs: _clip_exactly(optimizer, recipe.max_norm or 1.0)
            )

        yield TrainingMistake(
            "the gradients are divided by their norm alone, PyTorch adds 1e-6 to it",
            "use optim.clip_grad_norm, not optax.clip_by_global_norm",
            replace(changed(recipe, exactly), max_norm=None),
        )
    for value in NORMS:
        if value != recipe.max_norm:
            given = "does not clip" if recipe.max_norm is None else f"clips at {recipe.max_norm:g}"
            yield TrainingMistake(
                f"the norm of the gradients is clipped at {value:g}, PyTorch {given}",
                "remove the clipping" if recipe.max_norm is None else f"pass {recipe.max_norm:g}",
                replace(recipe, max_norm=value),
            )
    if recipe.max_value is not None:
        yield TrainingMistake(
            "the gradients are not clipped", "chain optim.clip_grad_value", replace(recipe, max_value=None)
        )


def _clip_each(optimizer: torch.optim.Optimizer, limit: float) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                torch.nn.utils.clip_grad_norm_([parameter], limit)


def _decay_and_clip(optimizer: torch.optim.Optimizer, limit: float) -> None:
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0

    def before(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        found = []
        for group, decay in zip(optimizer.param_groups, decays, strict=True):
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.add_(parameter.detach(), alpha=decay)
                    found.append(parameter)
        torch.nn.utils.clip_grad_norm_(found, limit)

    optimizer.register_step_pre_hook(before)


def _clip_exactly(optimizer: torch.optim.Optimizer, limit: float) -> None:
    found = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = torch.sqrt(torch.stack([g.square().sum() for g in found]).sum())
    if norm > limit:
        for gradient in found:
            gradient.mul_(limit / norm)


def _clip_updates(optimizer: torch.optim.Optimizer, limit: float) -> None:
    before: dict[Any, torch.Tensor] = {}

    def keep(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for group in optimizer.param_groups:
            before.update({p: p.detach().clone() for p in group["params"]})

    def clip(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        moved = {p: p.detach() - old for p, old in before.items()}
        norm = torch.sqrt(sum((m.square().sum() for m in moved.values()), torch.tensor(0.0)))
        if norm > limit:
            for p, m in moved.items():
                p.data.copy_(before[p] + m * (limit / norm))

    optimizer.register_step_pre_hook(keep)
    optimizer.register_step_post_hook(clip)
