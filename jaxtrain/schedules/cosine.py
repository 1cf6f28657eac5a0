"""Cosine annealing, with and without warm restarts."""

import itertools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxtrain._ground.checks import check_integer
from jaxtrain._ground.float64 import as_float64
from jaxtrain.schedules._affine import Affine
from jaxtrain.schedules._anneal import anneal, cosine
from jaxtrain.schedules._schedule import Schedule, check_number, setting

_LAST_COUNT = 2**53
"""Up to here float64 holds every integer."""


def cosine_annealing_lr(lr: ArrayLike, T_max: ArrayLike, eta_min: ArrayLike = 0.0) -> Schedule:
    """Anneal the rate along a cosine, down in `T_max` counts and up again in the next `T_max`.

        eta_min + (lr - eta_min) · (1 + cos(π · count / T_max)) / 2

    Args:
        lr: the base rate, at least 0.
        T_max: half a period, in counts, above 0.
        eta_min: the rate at the bottom, at least 0. Default 0.

    Returns:
        A schedule: `count -> rate`, in the default float type.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> from jaxtrain import schedules
        >>> schedule = schedules.cosine_annealing_lr(0.1, T_max=100, eta_min=0.01)
        >>> [round(float(schedule(count)), 6) for count in (0, 50, 100, 101, 200)]
        [0.1, 0.055, 0.01, 0.010022, 0.1]

    PyTorch: `torch.optim.lr_scheduler.CosineAnnealingLR`, which takes the cosine of an angle that keeps growing and
    divides one small `1 + cos` by another; relative to the exact value it is 5e-11 off after 100,000 steps with `T_max`
    10, and 7e-8 off just before the zero of `T_max` 100,000.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017,
    https://arxiv.org/abs/1608.03983
    """
    check_number("cosine_annealing_lr", "lr", lr)
    check_number("cosine_annealing_lr", "T_max", T_max, open_low=True)
    check_number("cosine_annealing_lr", "eta_min", eta_min)

    def from_top(count: jax.Array) -> jax.Array:
        """Counts from the nearest top of the wave."""
        position = count % (2 * as_float64(T_max))
        return jnp.minimum(position, 2 * as_float64(T_max) - position)

    def height(count: jax.Array) -> jax.Array:
        """From 0 at the bottom of the wave to 1 at its top."""
        return cosine((as_float64(T_max) - from_top(count)) / as_float64(T_max))

    def rate(count: jax.Array, start: jax.Array) -> jax.Array:
        top = jnp.where(count <= as_float64(T_max), start, as_float64(lr))
        return anneal(cosine, top, as_float64(eta_min), from_top(count), as_float64(T_max))

    def step(count: jax.Array) -> Affine:
        now = height(count)
        before = jnp.where(count > 0, height(count - 1), now)
        at_bottom = before == 0
        scale = jnp.where(at_bottom, 1.0, now / jnp.where(at_bottom, 1.0, before))
        lift = jnp.where(at_bottom, now, 0.0)
        return Affine(scale=scale, base=lift, offset=as_float64(eta_min) * (1 - scale - lift))

    return Schedule(lr=lr, rate=rate, step=step, kind="blends")


def cosine_annealing_warm_restarts(lr: ArrayLike, T_0: int, T_mult: int = 1, eta_min: ArrayLike = 0.0) -> Schedule:
    """Anneal the rate along a cosine that restarts after `T_0`, then `T_0 * T_mult`, then `T_0 * T_mult**2` counts.

        eta_min + (lr - eta_min) · (1 + cos(π · T_cur / T_i)) / 2

    `T_cur` is the number of counts since the last restart, `T_i` the length of the current cycle.

    Args:
        lr: the base rate, at least 0.
        T_0: the length of the first cycle, at least 1.
        T_mult: how many times longer each next cycle is, at least 1. Default 1.
        eta_min: the rate that every cycle nears, at least 0. Default 0.

    Returns:
        A schedule: `count -> rate`, in the default float type. The count may be fractional; see `per_epoch`.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if `T_0` or `T_mult` is not an integer.

    Example:
        >>> from jaxtrain import schedules
        >>> schedule = schedules.cosine_annealing_warm_restarts(0.1, T_0=1, T_mult=3)
        >>> [round(float(schedule(count)), 6) for count in (0, 0.5, 1, 2.5, 4, 121)]
        [0.1, 0.05, 0.1, 0.05, 0.1, 0.1]

    PyTorch: `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`. At some restarts, such as 121 here, its
    `step(epoch)` rounds an integer logarithm down and returns `eta_min`; its `step()` does not, and neither does this
    schedule.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017,
    https://arxiv.org/abs/1608.03983
    """
    check_number("cosine_annealing_warm_restarts", "lr", lr)
    T_0 = check_integer("cosine_annealing_warm_restarts", "T_0", T_0, 1)
    T_mult = check_integer("cosine_annealing_warm_restarts", "T_mult", T_mult, 1)
    check_number("cosine_annealing_warm_restarts", "eta_min", eta_min)

    def cycle(count: jax.Array) -> tuple[jax.Array, jax.Array | float]:
        """`T_cur` and `T_i`."""
        if T_mult == 1:
            return count % T_0, float(T_0)
        lengths = [T_0]
        while lengths[-1] < _LAST_COUNT:
            lengths.append(lengths[-1] * T_mult)
        restarts = jnp.asarray([0, *itertools.accumulate(lengths[:-1])], jnp.float64)
        number = jnp.searchsorted(restarts, count, side="right") - 1
        return count - restarts[number], jnp.asarray(lengths, jnp.float64)[number]

    def value(count: jax.Array) -> jax.Array:
        return anneal(cosine, as_float64(lr), as_float64(eta_min), *cycle(count))

    return setting(value, lr)
