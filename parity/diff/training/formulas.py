"""Other formulas than PyTorch's in the optimizer, and other optimizers."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from parity.diff.recipe import Recipe, Training
from parity.diff.training.mistake import TrainingMistake, changed


def mistakes(recipe: Recipe, started: Training) -> Iterator[TrainingMistake]:
    optimizer = started.optimizer
    if isinstance(optimizer, torch.optim.Adam):
        yield from _of_adam(recipe)
    if isinstance(optimizer, torch.optim.SGD) and optimizer.param_groups[0]["momentum"]:
        yield from _of_momentum(recipe)
    if isinstance(optimizer, torch.optim.RMSprop):
        yield TrainingMistake(
            "ε is added inside of the root, PyTorch adds it outside",
            "pass eps_in_sqrt=False to optax.rmsprop",
            changed(recipe, _PlainRMSprop),
        )
        yield TrainingMistake(
            "the optimizer is optax.rmsprop with its defaults: a decay of 0.9, and ε inside of the root",
            "use optim.rmsprop",
            changed(recipe, lambda made: _PlainRMSprop(made, alpha=0.9)),
        )
    if isinstance(optimizer, torch.optim.Adagrad):
        yield TrainingMistake(
            "the optimizer is optax.adagrad with its defaults: the sum of squares begins at 0.1, and ε is 1e-7",
            "use optim.adagrad",
            changed(recipe, _OptaxAdagrad),
        )
        for value in (0.1, 1.0, 0.0):
            given = optimizer.param_groups[0]["initial_accumulator_value"]
            if value != given:
                yield TrainingMistake(
                    f"the sum of squares begins at {value:g}, PyTorch's at {given:g}",
                    f"pass initial_accumulator_value={given:g}",
                    changed(recipe, lambda made, value=value: _begin(made, value)),
                )
    yield from _others(recipe, optimizer)


def _of_adam(recipe: Recipe) -> Iterator[TrainingMistake]:
    variants: dict[str, tuple[str, dict[str, Any]]] = {
        "the moments are not corrected for their bias": ("divide by 1 - βᵗ", {"corrected": False}),
        "the bias of the second moment is not corrected": ("divide by 1 - β₂ᵗ", {"second": False}),
        "ε is added inside of the root, PyTorch adds it outside": ("pass eps, not eps_root", {"inside": True}),
        "ε is added before the second moment is corrected, PyTorch adds it after": (
            "divide the second moment by 1 - β₂ᵗ before the root and ε",
            {"early": True},
        ),
        "the corrections of the bias, 1 - βᵗ, are computed in float32": (
            "compute them in float64, as jaxtrain.optim does",
            {"rounded": True},
        ),
        "the bias is corrected for one step more": ("count steps from 1", {"ahead": 1}),
    }
    for says, (fix, options) in variants.items():
        yield TrainingMistake(says, fix, changed(recipe, lambda made, options=options: _PlainAdam(made, **options)))


def _of_momentum(recipe: Recipe) -> Iterator[TrainingMistake]:
    yield TrainingMistake(
        "the momentum is a moving average, β m + (1 - β) g; PyTorch's is β m + g",
        "use optax.trace or optim.sgd, not optax.ema",
        changed(recipe, lambda made: _PlainSGD(made, average=True)),
    )
    yield TrainingMistake(
        "the learning rate is inside of the momentum, β m + lr g; PyTorch multiplies the momentum by it",
        "scale after the momentum",
        changed(recipe, lambda made: _PlainSGD(made, rated=True)),
    )


def _begin(made: Any, value: float) -> None:
    for state in made.state.values():
        state["sum"].fill_(value)


def _others(recipe: Recipe, optimizer: torch.optim.Optimizer) -> Iterator[TrainingMistake]:
    others: dict[str, Callable[[Any, float], torch.optim.Optimizer]] = {
        "SGD": lambda groups, lr: torch.optim.SGD(groups, lr),
        "Adam": lambda groups, lr: torch.optim.Adam(groups, lr),
        "AdamW": lambda groups, lr: torch.optim.AdamW(groups, lr),
        "RMSprop": lambda groups, lr: torch.optim.RMSprop(groups, lr),
        "NAdam": lambda groups, lr: torch.optim.NAdam(groups, lr),
        "Adagrad": lambda groups, lr: torch.optim.Adagrad(groups, lr),
    }
    given = type(optimizer).__name__
    for name, make in others.items():
        if name != given:
            yield TrainingMistake(
                f"the optimizer is {name} with its defaults, PyTorch's is {given}",
                f"use optim.{given.lower()}",
                changed(
                    recipe,
                    lambda made, make=make: make(
                        [{"params": g["params"], "lr": g["lr"]} for g in made.param_groups], made.param_groups[0]["lr"]
                    ),
                ),
            )


class _Plain(torch.optim.Optimizer):
    """An optimizer written out, with the groups of another one."""

    def __init__(self, given: torch.optim.Optimizer):
        super().__init__([dict(group) for group in given.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.move(group, parameter, parameter.grad, self.state[parameter])

    def move(self, group: dict[str, Any], p: torch.Tensor, g: torch.Tensor, state: dict[str, Any]) -> None:
        """Move one parameter against its gradient, as each optimizer does in its own way."""
        raise NotImplementedError


class _PlainAdam(_Plain):
    """Adam or AdamW, with variants."""

    def __init__(
        self,
        given: torch.optim.Optimizer,
        corrected: bool = True,
        second: bool = True,
        inside: bool = False,
        early: bool = False,
        rounded: bool = False,
        ahead: int = 0,
    ):
        super().__init__(given)
        self.corrected, self.second, self.inside = corrected, corrected and second, inside
        self.early, self.rounded, self.ahead = early, rounded, ahead

    def correction(self, beta: float, t: int) -> float:
        if self.rounded:
            return float(np.float32(1) - np.float32(beta) ** np.float32(t))
        return 1 - beta ** (t + self.ahead)

    def move(self, group: dict[str, Any], p: torch.Tensor, g: torch.Tensor, state: dict[str, Any]) -> None:
        (b1, b2), lr, eps, decay = group["betas"], group["lr"], group["eps"], group["weight_decay"]
        if group["decoupled_weight_decay"]:
            p.mul_(1 - lr * decay)
        else:
            g = g + decay * p
        t = state["t"] = state.get("t", 0) + 1
        m = state["m"] = b1 * state.get("m", 0) + (1 - b1) * g
        v = state["v"] = b2 * state.get("v", 0) + (1 - b2) * g * g
        m = m / self.correction(b1, t) if self.corrected else m
        second = self.correction(b2, t) if self.second else 1.0
        if self.inside:
            root = torch.sqrt(v / second + eps)
        elif self.early:
            root = (torch.sqrt(v) + eps) / second**0.5
        else:
            root = torch.sqrt(v / second) + eps
        p.sub_(lr * m / root)


class _PlainSGD(_Plain):
    """SGD with momentum, with variants."""

    def __init__(self, given: torch.optim.Optimizer, average: bool = False, rated: bool = False):
        super().__init__(given)
        self.average, self.rated = average, rated

    def move(self, group: dict[str, Any], p: torch.Tensor, g: torch.Tensor, state: dict[str, Any]) -> None:
        g = g + group["weight_decay"] * p
        share = group["lr"] if self.rated else 1 - group["momentum"] if self.average else 1.0
        m = state["m"] = group["momentum"] * state.get("m", 0) + share * g
        p.sub_(m if self.rated else group["lr"] * m)


class _OptaxAdagrad(_Plain):
    """Adagrad as Optax has it."""

    def move(self, group: dict[str, Any], p: torch.Tensor, g: torch.Tensor, state: dict[str, Any]) -> None:
        total = state["sum"] = state.get("sum", 0.1) + g * g
        p.sub_(group["lr"] * g / torch.sqrt(total + 1e-7))


class _PlainRMSprop(_Plain):
    """RMSprop with ε inside of the root."""

    def __init__(self, given: torch.optim.Optimizer, alpha: float | None = None):
        super().__init__(given)
        self.alpha = alpha

    def move(self, group: dict[str, Any], p: torch.Tensor, g: torch.Tensor, state: dict[str, Any]) -> None:
        g = g + group["weight_decay"] * p
        alpha = group["alpha"] if self.alpha is None else self.alpha
        v = state["v"] = alpha * state.get("v", 0) + (1 - alpha) * g * g
        g = g / torch.sqrt(v + group["eps"])
        if group["momentum"]:
            g = state["b"] = group["momentum"] * state.get("b", 0) + g
        p.sub_(group["lr"] * g)
