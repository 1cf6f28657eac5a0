"""Decay by a constant factor: at every step, every few steps, or at milestones."""

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxtrain._ground.checks import check_integer
from jaxtrain._ground.float64 import raised
from jaxtrain.schedules._schedule import Schedule, check_list, check_number, scaling


def step_lr(lr: ArrayLike, step_size: int, gamma: ArrayLike = 0.1) -> Schedule:
    """Decay the rate by `gamma` every `step_size` counts.

        lr · gamma^⌊count / step_size⌋

    Args:
        lr: the base rate, at least 0.
        step_size: counts from one decay to the next, at least 1.
        gamma: the factor of one decay, at least 0. Default 0.1.

    Returns:
        A schedule: `count -> rate`, in the default float type.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if `step_size` is not an integer.

    Example:
        >>> from jaxtrain import schedules
        >>> schedule = schedules.step_lr(0.1, step_size=30)
        >>> [round(float(schedule(count)), 6) for count in (0, 29, 30, 60)]
        [0.1, 0.1, 0.01, 0.001]

    PyTorch: `torch.optim.lr_scheduler.StepLR`.
    """
    check_number("step_lr", "lr", lr)
    step_size = check_integer("step_lr", "step_size", step_size, 1)
    check_number("step_lr", "gamma", gamma)
    return _decaying(lr, gamma, lambda count: count // step_size)


def multi_step_lr(lr: ArrayLike, milestones: Iterable[int], gamma: ArrayLike = 0.1) -> Schedule:
    """Decay the rate by `gamma` at each milestone; one that is listed twice counts twice.

        lr · gamma^(number of milestones ≤ count)

    Args:
        lr: the base rate, at least 0.
        milestones: the counts of the decays, at least 0, in any order.
        gamma: the factor of one decay, at least 0. Default 0.1.

    Returns:
        A schedule: `count -> rate`, in the default float type.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if a milestone is not an integer.

    Example:
        >>> from jaxtrain import schedules
        >>> schedule = schedules.multi_step_lr(0.1, milestones=[30, 80, 80])
        >>> [round(float(schedule(count)), 6) for count in (29, 30, 79, 80)]
        [0.1, 0.01, 0.01, 0.0001]

    PyTorch: `torch.optim.lr_scheduler.MultiStepLR`.
    """
    check_number("multi_step_lr", "lr", lr)
    given = check_list("multi_step_lr", "milestones", milestones, "counts")
    milestones = sorted(check_integer("multi_step_lr", "every milestone", milestone, 0) for milestone in given)
    check_number("multi_step_lr", "gamma", gamma)
    return _decaying(lr, gamma, lambda count: jnp.sum(count >= jnp.asarray(milestones, jnp.float64), dtype=jnp.float64))


def exponential_lr(lr: ArrayLike, gamma: ArrayLike) -> Schedule:
    """Decay the rate by `gamma` at every count.

        lr · gamma^count

    Args:
        lr: the base rate, at least 0.
        gamma: the factor of one decay, at least 0.

    Returns:
        A schedule: `count -> rate`, in the default float type.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> from jaxtrain import schedules
        >>> round(float(schedules.exponential_lr(0.1, gamma=0.95)(20)), 6)
        0.035849

    PyTorch: `torch.optim.lr_scheduler.ExponentialLR`, which multiplies the rate at every step: its product is 3e-14
    away from the power after 100,000 steps.
    """
    check_number("exponential_lr", "lr", lr)
    check_number("exponential_lr", "gamma", gamma)
    return _decaying(lr, gamma, lambda count: count)


def _decaying(lr: ArrayLike, gamma: ArrayLike, decays: Callable[[jax.Array], jax.Array]) -> Schedule:
    """lr · gamma^decays(count)."""

    def step_factor(count: jax.Array) -> jax.Array:
        decays_before = jnp.where(count > 0, decays(count - 1), 0)
        return raised(gamma, decays(count) - decays_before)

    return scaling(lr, lambda count: raised(gamma, decays(count)), step_factor)
