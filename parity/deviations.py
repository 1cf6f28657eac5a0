"""Where jaxtrain differs from PyTorch on purpose, each with an example that is executed on both sides."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from torch.optim import lr_scheduler

from jaxtrain import losses, nn, optim, schedules


@dataclass(frozen=True)
class Deviation:
    """One difference.

    Attributes:
        component: public name below `jaxtrain`.
        situation: when the two differ.
        reason: why ours is the better one.
        ours: an example; its value is printed.
        torch: the same in PyTorch; its value, or the error that it raises.
    """

    component: str
    situation: str
    reason: str
    ours: Callable[[], Any]
    torch: Callable[[], Any]

    def row(self) -> str:
        """The difference, measured now, as a row of Markdown."""
        return f"| `{self.component}` | {self.situation} | {shown(self.ours)} | {shown(self.torch)} | {self.reason} |"


def shown(example: Callable[[], Any]) -> str:
    """The value of an example to six digits, or the name of the error that it raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of some of these; the value beside ours says it, too.
            value = example()
    except (ArithmeticError, LookupError, RuntimeError, ValueError) as error:
        return f"`{type(error).__name__}`"
    numbers = np.atleast_1d(np.asarray(value.detach() if isinstance(value, torch.Tensor) else value, np.float64))
    text = ", ".join(f"{number + 0.0:.6g}" for number in numbers)
    return text if len(numbers) == 1 else f"[{text}]"


CONSTANTS = np.random.default_rng(0).normal(size=1000).astype(np.float32)


def centered_rmsprop() -> float:
    """The share of parameters that are NaN after 2000 steps of constant gradients."""
    optimizer, zeros = optim.rmsprop(centered=True), jnp.zeros(CONSTANTS.shape)

    def step(state: Any, _: None) -> tuple[Any, jax.Array]:
        updates, state = optimizer.update(jnp.asarray(CONSTANTS), state)
        return state, updates

    return float(jnp.isnan(jax.lax.scan(step, optimizer.init(zeros), length=2000)[1].sum(axis=0)).mean())


def torch_centered_rmsprop() -> float:
    parameter = torch.zeros(CONSTANTS.shape, requires_grad=True)
    optimizer = torch.optim.RMSprop([parameter], centered=True)
    parameter.grad = torch.tensor(CONSTANTS)
    for _ in range(2000):
        optimizer.step()
    return float(parameter.isnan().float().mean())


def torch_warm_restart(epoch: int) -> float:
    optimizer = torch.optim.SGD([torch.zeros((), requires_grad=True)], lr=0.1)
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=1, T_mult=3)
    optimizer.step()
    scheduler.step(epoch)
    return optimizer.param_groups[0]["lr"]


def torch_clipped_by_value(limit: float) -> torch.Tensor:
    parameter = torch.zeros(2, requires_grad=True)
    parameter.grad = torch.tensor([-2.0, 0.25])
    torch.nn.utils.clip_grad_value_([parameter], limit)
    return parameter.grad


def dropped_infinity(function: Callable, infinities: Any) -> Any:
    """How many of many dropped infinities become NaN."""
    return np.isnan(np.asarray(function(infinities))).mean().round(1)


DEVIATIONS: list[Deviation] = [
    Deviation(
        "losses.cross_entropy",
        "a class out of range (7 of 3)",
        "compiled code cannot raise; NaN is not silently wrong, as JAX's clamped index would be",
        lambda: losses.cross_entropy(jnp.zeros((1, 3)), jnp.array([7])),
        lambda: F.cross_entropy(torch.zeros(1, 3), torch.tensor([7])),
    ),
    Deviation(
        "losses.cross_entropy",
        "a class weight of 0 meets a logit of -inf",
        "a class without weight adds nothing",
        lambda: losses.cross_entropy(
            jnp.array([[0.0, -jnp.inf]]), jnp.array([0]), jnp.array([1.0, 0.0]), label_smoothing=0.1
        ),
        lambda: F.cross_entropy(
            torch.tensor([[0.0, -math.inf]]), torch.tensor([0]), torch.tensor([1.0, 0.0]), label_smoothing=0.1
        ),
    ),
    Deviation(
        "losses.binary_cross_entropy",
        "a probability of 1.5",
        "compiled code cannot raise",
        lambda: losses.binary_cross_entropy(jnp.array([1.5]), jnp.array([1.0])),
        lambda: F.binary_cross_entropy(torch.tensor([1.5]), torch.tensor([1.0])),
    ),
    Deviation(
        "losses.mse_loss",
        "shapes (2, 1) and (2,)",
        "broadcasting a loss is nearly always a mistake; PyTorch warns",
        lambda: losses.mse_loss(jnp.array([[1.0], [2.0]]), jnp.array([1.0, 2.0])),
        lambda: F.mse_loss(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 2.0])),
    ),
    Deviation(
        "losses.rmse_loss",
        "gradient at zero error, against the root of `mse_loss`",
        "a perfect fit should not destroy the parameters",
        lambda: jax.grad(losses.rmse_loss)(jnp.ones(1), jnp.ones(1)),
        lambda: torch.autograd.grad(
            torch.sqrt(F.mse_loss(one := torch.ones(1, requires_grad=True), torch.ones(1))), one
        )[0],
    ),
    Deviation(
        "optim.rmsprop",
        "share of NaN, centered, 2000 steps of 1000 constant gradients",
        "rounding makes the estimated variance negative; here it counts as 0 then",
        centered_rmsprop,
        torch_centered_rmsprop,
    ),
    Deviation(
        "optim.clip_grad_value",
        "a limit of -1",
        "a negative limit is a mistake; PyTorch sets every element to it",
        lambda: optim.clip_grad_value(-1.0).update(jnp.array([-2.0, 0.25]), ())[0],
        lambda: torch_clipped_by_value(-1.0),
    ),
    Deviation(
        "schedules.cosine_annealing_warm_restarts",
        "`T_0=1, T_mult=3`, epoch 121, which is a restart",
        "PyTorch's `step(epoch)` rounds an integer logarithm down",
        lambda: schedules.cosine_annealing_warm_restarts(0.1, T_0=1, T_mult=3)(121),
        lambda: torch_warm_restart(121),
    ),
    Deviation(
        "nn.dropout",
        "share of NaN when infinities are dropped, p = 0.5",
        "what is dropped is 0, whatever it was",
        lambda: dropped_infinity(lambda x: nn.dropout(x, 0.5, key=jax.random.key(0)), jnp.full(10_000, jnp.inf)),
        lambda: dropped_infinity(lambda x: F.dropout(x, 0.5), torch.full((10_000,), math.inf)),
    ),
]


def markdown() -> str:
    """The table, measured now."""
    header = ["| component | when | jaxtrain | PyTorch | why |", "|---|---|---|---|---|"]
    return "\n".join([*header, *(deviation.row() for deviation in DEVIATIONS)]) + "\n"
