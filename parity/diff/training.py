"""The optimizers of both sides on PyTorch's gradients, and the known mistakes in training."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from parity.diff.recipe import Recipe, Training
from parity.subjects._arrays import to_numpy, to_torch

Arrays = dict[str, np.ndarray]
Gradients = Sequence[Mapping[str, np.ndarray]]


def trajectory(module: torch.nn.Module, recipe: Recipe, gradients: Gradients, dtype: str = "float64") -> list[Arrays]:
    """PyTorch's parameters after each step on given gradients."""
    module = copy.deepcopy(module).to(getattr(torch, dtype))
    training = recipe.start(module)
    found = []
    for step in gradients:
        for name, parameter in module.named_parameters():
            parameter.grad = to_torch(step[name], dtype) if name in step else None
        training.step()
        found.append({name: to_numpy(parameter) for name, parameter in module.named_parameters()})
    return found


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


def training_mistakes(module: torch.nn.Module, recipe: Recipe) -> Iterator[TrainingMistake]:
    """The mistakes that ports make with this recipe; the likely ones first."""
    started = recipe.start(copy.deepcopy(module))
    groups = started.optimizer.param_groups
    yield from _decays(recipe, started)
    yield from _numbers(recipe, groups)
    yield from _schedules(recipe)
    yield from _clipping(recipe)
    yield from _other_formulas(recipe, started)


def _changed(recipe: Recipe, change: Callable[[torch.optim.Optimizer], Any]) -> Recipe:
    """The recipe with its optimizer changed after it is made."""

    def optimizer(module: torch.nn.Module) -> torch.optim.Optimizer:
        made = recipe.optimizer(module)
        return change(made) or made

    return replace(recipe, optimizer=optimizer)


def _set(recipe: Recipe, **values: Any) -> Recipe:
    def change(optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:
            group.update(values)

    return _changed(recipe, change)


def _decays(recipe: Recipe, started: Training) -> Iterator[TrainingMistake]:
    groups = started.optimizer.param_groups
    decays = {group.get("weight_decay", 0.0) for group in groups}
    largest = max(decays)
    kind = type(started.optimizer)
    if kind is torch.optim.AdamW:
        yield TrainingMistake(
            "the weight decay is added to the gradient (as in Adam), AdamW's shrinks the weights",
            "use optim.adamw",
            _set(recipe, decoupled_weight_decay=False),
        )
    elif kind is torch.optim.Adam and largest:
        yield TrainingMistake(
            "the weight decay shrinks the weights (as in AdamW), Adam's is added to the gradient",
            "use optim.adam(weight_decay=...)",
            _set(recipe, decoupled_weight_decay=True),
        )
    elif kind is torch.optim.SGD and largest:
        yield TrainingMistake(
            "the weight decay shrinks the weights, SGD's is added to the gradient, before the momentum",
            "put optax.add_decayed_weights before the momentum, or use optim.sgd(weight_decay=...)",
            _changed(recipe, _decoupled),
        )
    if len(decays) > 1:
        yield TrainingMistake(
            "all parameters decay, in PyTorch not all do (norms and biases do not, perhaps)",
            "pass a mask, or use optim.param_groups",
            _set(recipe, weight_decay=largest),
        )
    if largest:
        yield TrainingMistake(
            "there is no weight decay", f"pass weight_decay={largest:g}", _set(recipe, weight_decay=0.0)
        )

        def only_matrices(optimizer: torch.optim.Optimizer, keep: bool) -> None:
            for group in list(optimizer.param_groups):
                flat = [p for p in group["params"] if p.ndim < 2]
                if flat and keep:
                    group["params"] = [p for p in group["params"] if p.ndim >= 2]
                    optimizer.add_param_group({**group, "params": flat, "weight_decay": 0.0})

        yield TrainingMistake(
            "vectors (biases and norms) do not decay, in PyTorch they do",
            "decay all parameters, without a mask",
            _changed(recipe, lambda optimizer: only_matrices(optimizer, True)),
        )
        if kind is torch.optim.AdamW:
            yield TrainingMistake(
                "the weight decay is not multiplied by the learning rate, PyTorch's is",
                "multiply it by the learning rate",
                _changed(recipe, _decoupled),
            )
    for value in (1e-4, 1e-2):
        if decays != {value}:
            yield TrainingMistake(
                f"the weight decay is {value:g} (a default), PyTorch's is {largest:g}",
                f"pass weight_decay={largest:g}",
                _set(recipe, weight_decay=value),
            )


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


def _numbers(recipe: Recipe, groups: list[dict[str, Any]]) -> Iterator[TrainingMistake]:
    given = groups[0]
    candidates: dict[str, tuple[Any, ...]] = {
        "eps": (1e-8, 1e-7, 1e-6, 1e-5, 1e-3, 1e-12, 1e-10),
        "betas": ((0.9, 0.999), (0.9, 0.95), (0.9, 0.98), (0.99, 0.999)),
        "momentum": (0.0, 0.9, 0.99),
        "alpha": (0.9, 0.99),
        "nesterov": (True, False),
        "dampening": (0.0, given.get("momentum", 0.0)),
        "amsgrad": (True, False),
        "lr": tuple(given["lr"] * factor for factor in (10.0, 0.1, 2.0, 0.5)),
    }
    for name, values in candidates.items():
        for value in values:
            if name in given and given[name] != value and not (name == "nesterov" and not given["momentum"]):
                yield TrainingMistake(
                    f"{name} is {value}, PyTorch's is {given[name]}",
                    f"pass {name}={given[name]}",
                    _set(recipe, **{name: value}),
                )
    if len({group["lr"] for group in groups}) > 1:
        for value in sorted({group["lr"] for group in groups}):
            yield TrainingMistake(
                f"all parameters have the learning rate {value}, PyTorch's groups differ",
                "use optim.param_groups",
                _set(recipe, lr=value, initial_lr=value),
            )


def _schedules(recipe: Recipe) -> Iterator[TrainingMistake]:
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


def _clipping(recipe: Recipe) -> Iterator[TrainingMistake]:
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
            replace(_changed(recipe, separately), max_norm=None),
        )

        def after(optimizer: torch.optim.Optimizer) -> None:
            _clip_updates(optimizer, recipe.max_norm or 1.0)

        yield TrainingMistake(
            "the updates are clipped, PyTorch clips the gradients",
            "chain the clipping before the optimizer",
            replace(_changed(recipe, after), max_norm=None),
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


def _other_formulas(recipe: Recipe, started: Training) -> Iterator[TrainingMistake]:
    optimizer = started.optimizer
    if isinstance(optimizer, torch.optim.Adam):
        for corrected, inside, says, fix in (
            (False, False, "the moments are not corrected for their bias", "divide by 1 - βᵗ"),
            (True, True, "ε is added inside of the root, PyTorch adds it outside", "pass eps, not eps_root"),
        ):
            yield TrainingMistake(
                says, fix, _changed(recipe, lambda made, c=corrected, i=inside: _PlainAdam(made, c, i))
            )
    if isinstance(optimizer, torch.optim.RMSprop):
        yield TrainingMistake(
            "ε is added inside of the root, PyTorch adds it outside",
            "pass eps_in_sqrt=False to optax.rmsprop",
            _changed(recipe, _PlainRMSprop),
        )
    others: dict[str, Callable[[Any, float], torch.optim.Optimizer]] = {
        "SGD": lambda groups, lr: torch.optim.SGD(groups, lr),
        "Adam": lambda groups, lr: torch.optim.Adam(groups, lr),
        "AdamW": lambda groups, lr: torch.optim.AdamW(groups, lr),
    }
    for name, make in others.items():
        if name != type(optimizer).__name__:
            yield TrainingMistake(
                f"the optimizer is {name} with its defaults, PyTorch's is {type(optimizer).__name__}",
                f"use optim.{type(optimizer).__name__.lower()}",
                _changed(
                    recipe,
                    lambda made, make=make: make(
                        [{"params": g["params"], "lr": g["lr"]} for g in made.param_groups], made.param_groups[0]["lr"]
                    ),
                ),
            )


class _PlainAdam(torch.optim.Optimizer):
    """Adam or AdamW written out, with variants."""

    def __init__(self, given: torch.optim.Optimizer, corrected: bool, inside: bool):
        super().__init__([dict(group) for group in given.param_groups], {})
        self.corrected, self.inside = corrected, inside

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            (b1, b2), lr, eps, decay = group["betas"], group["lr"], group["eps"], group["weight_decay"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                g, state = p.grad, self.state[p]
                if group["decoupled_weight_decay"]:
                    p.mul_(1 - lr * decay)
                else:
                    g = g + decay * p
                t = state["t"] = state.get("t", 0) + 1
                m = state["m"] = b1 * state.get("m", 0) + (1 - b1) * g
                v = state["v"] = b2 * state.get("v", 0) + (1 - b2) * g * g
                if self.corrected:
                    m, v = m / (1 - b1**t), v / (1 - b2**t)
                p.sub_(lr * m / (torch.sqrt(v + eps) if self.inside else torch.sqrt(v) + eps))


class _PlainRMSprop(torch.optim.Optimizer):
    """RMSprop with ε inside of the root."""

    def __init__(self, given: torch.optim.Optimizer):
        super().__init__([dict(group) for group in given.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                g, state = p.grad + group["weight_decay"] * p, self.state[p]
                v = state["v"] = group["alpha"] * state.get("v", 0) + (1 - group["alpha"]) * g * g
                g = g / torch.sqrt(v + group["eps"])
                if group["momentum"]:
                    g = state["b"] = group["momentum"] * state.get("b", 0) + g
                p.sub_(group["lr"] * g)
