"""The schedule of stochastic weight averaging: over to a constant rate."""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxtrain._ground.checks import check_choice, check_integer
from jaxtrain._ground.float64 import as_float64
from jaxtrain.schedules._affine import Affine
from jaxtrain.schedules._anneal import WEIGHTS, anneal
from jaxtrain.schedules._schedule import Schedule, check_number


def swa_lr(
    lr: ArrayLike, swa_lr: ArrayLike, anneal_epochs: int = 10, anneal_strategy: Literal["cos", "linear"] = "cos"
) -> Schedule:
    """Anneals the rate to `swa_lr` in `anneal_epochs` counts and stays there.

    `lr * (1 - alpha) + swa_lr * alpha`, where `alpha` goes from 0 to 1 along a cosine or a straight line

    It usually takes over from another schedule, at the rate that this one left:
    `sequential_lr([schedule, swa_lr(lr, 0.05)], milestones=[160])`.

    Args:
        lr: the rate at count 0, at least 0; replaced in `sequential_lr` by the rate that the schedule finds.
        swa_lr: the rate in the end, at least 0.
        anneal_epochs: counts of the way, at least 0.
        anneal_strategy: along a cosine (`"cos"`) or a straight line (`"linear"`).

    Returns:
        A schedule: `count -> rate`, in the default float type.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if `anneal_epochs` is not an integer.

    Example:
        >>> schedule = swa_lr(0.1, swa_lr=0.05, anneal_epochs=4)
        >>> [round(float(schedule(count)), 6) for count in (0, 1, 2, 4, 5)]
        [0.1, 0.092678, 0.075, 0.05, 0.05]

    `torch.optim.swa_utils.SWALR`.

    Reference:
        Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization,
        https://arxiv.org/abs/1803.05407
    """
    check_number("swa_lr", "lr", lr)
    check_number("swa_lr", "swa_lr", swa_lr)
    check_integer("swa_lr", "anneal_epochs", anneal_epochs, 0)
    check_choice("swa_lr", "anneal_strategy", anneal_strategy, WEIGHTS)
    weight = WEIGHTS[anneal_strategy]

    def annealed(count: jax.Array, start: jax.Array | float, end: jax.Array | float) -> jax.Array:
        length = jnp.maximum(as_float64(anneal_epochs), 1.0)
        # PyTorch's way of no counts is at its end from the beginning.
        done = jnp.where(as_float64(anneal_epochs) > 0, jnp.clip(count, 0, length), length)
        return anneal(weight, start, end, done, length)

    def step(count: jax.Array) -> Affine:
        left, left_before = annealed(count, 1.0, 0.0), annealed(count - 1, 1.0, 0.0)
        scale = jnp.where(left_before > 0, left / jnp.where(left_before > 0, left_before, 1.0), 0.0)
        return Affine(scale=scale, offset=as_float64(swa_lr) * (1 - scale))

    return Schedule(
        lr=lr,
        rate=lambda count, start: annealed(count, start, as_float64(swa_lr)),
        step=step,
        kind="blends",
        resumes=lambda rate: rate,
    )
