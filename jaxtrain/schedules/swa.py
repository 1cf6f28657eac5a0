"""The schedule of stochastic weight averaging: to a constant rate."""

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
    """Anneal the rate to `swa_lr` in `anneal_epochs` counts and stay there.

        lr · (1 - α) + swa_lr · α

    α goes from 0 to 1 along a cosine or a straight line.

    Args:
        lr: the rate at count 0, at least 0; in `sequential_lr` the rate that the schedule finds takes its place.
        swa_lr: the final rate, at least 0.
        anneal_epochs: how many counts it takes, at least 0. Default 10.
        anneal_strategy: `"cos"` along a cosine, or `"linear"` along a straight line. Default `"cos"`.

    Returns:
        A schedule: `count -> rate`, in the default float type.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if `anneal_epochs` is not an integer.

    Example:
        >>> from jaxtrain import schedules
        >>> schedule = schedules.swa_lr(0.1, swa_lr=0.05, anneal_epochs=4)
        >>> [round(float(schedule(count)), 6) for count in (0, 1, 2, 4, 5)]
        [0.1, 0.092678, 0.075, 0.05, 0.05]

        The loop in PyTorch's documentation steps another scheduler up to epoch 160 and this one afterwards, from the
        rate that the other one has at epoch 161:

        >>> cosine = schedules.cosine_annealing_lr(0.1, T_max=300)
        >>> averaging = lambda count: schedules.swa_lr(cosine(161), swa_lr=0.05)(count)
        >>> schedule = schedules.sequential_lr([cosine, averaging], milestones=[161])
        >>> [round(float(schedule(epoch)), 6) for epoch in (160, 161, 162, 171)]
        [0.044774, 0.044253, 0.044394, 0.05]

    PyTorch: `torch.optim.swa_utils.SWALR`. `sequential_lr([cosine, swa_lr(...)], [161])` is PyTorch's `SequentialLR` of
    the two instead, which starts from the rate at epoch 160.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018,
    https://arxiv.org/abs/1803.05407
    """
    check_number("swa_lr", "lr", lr)
    check_number("swa_lr", "swa_lr", swa_lr)
    anneal_epochs = check_integer("swa_lr", "anneal_epochs", anneal_epochs, 0)
    check_choice("swa_lr", "anneal_strategy", anneal_strategy, WEIGHTS)
    weight = WEIGHTS[anneal_strategy]

    def annealed(count: jax.Array, start: jax.Array | float, end: jax.Array | float) -> jax.Array:
        length = jnp.maximum(as_float64(anneal_epochs), 1.0)
        # As in PyTorch, annealing in 0 counts is complete from the start.
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
