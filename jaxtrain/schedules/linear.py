"""Warm-up and decay: a factor that changes over the first steps and then stays."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxtrain._ground.checks import check_integer
from jaxtrain._ground.float64 import as_float64, raised
from jaxtrain.schedules._anneal import anneal, linear
from jaxtrain.schedules._schedule import Schedule, check_number, scaling


def constant_lr(lr: ArrayLike, factor: ArrayLike = 1.0 / 3, total_iters: int = 5) -> Schedule:
    """Hold the rate at a fraction of itself for the first `total_iters` counts.

        lr · factor   where count < total_iters
        lr            from there on

    Args:
        lr: the base rate, at least 0.
        factor: the fraction, from 0 to 1. Default 1/3.
        total_iters: how many counts have the factor, at least 0; with 0 all have it, as in PyTorch. Default 5.

    Returns:
        A schedule: `count -> rate`, in the default float type.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if `total_iters` is not an integer.

    Example:
        >>> from jaxtrain import schedules
        >>> schedule = schedules.constant_lr(0.3)
        >>> [round(float(schedule(count)), 6) for count in (0, 4, 5)]
        [0.1, 0.1, 0.3]

    PyTorch: `torch.optim.lr_scheduler.ConstantLR`, which fails with `ZeroDivisionError` at `total_iters` if `factor`
    is 0.
    """
    check_number("constant_lr", "lr", lr)
    check_number("constant_lr", "factor", factor, 0.0, 1.0)
    total_iters = check_integer("constant_lr", "total_iters", total_iters, 0)
    return _finishing(lr, total_iters, lambda done: jnp.where(done < _length(total_iters), as_float64(factor), 1.0))


def linear_lr(
    lr: ArrayLike, start_factor: ArrayLike = 1.0 / 3, end_factor: ArrayLike = 1.0, total_iters: int = 5
) -> Schedule:
    """Move the rate on a straight line from one fraction of itself to another.

        lr · (start_factor · (1 - t) + end_factor · t),   t = min(count, total_iters) / total_iters

    Args:
        lr: the base rate, at least 0.
        start_factor: the fraction at count 0, above 0, at most 1. Default 1/3.
        end_factor: the fraction from `total_iters` on, from 0 to 1. Default 1.
        total_iters: the length of the line in counts, at least 0; with 0 the factor stays at `start_factor`, as in
            PyTorch. Default 5.

    Returns:
        A schedule: `count -> rate`, in the default float type.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if `total_iters` is not an integer.

    Example:
        >>> from jaxtrain import schedules
        >>> schedule = schedules.linear_lr(0.3)
        >>> [round(float(schedule(count)), 6) for count in (0, 1, 5, 6)]
        [0.1, 0.14, 0.3, 0.3]

    PyTorch: `torch.optim.lr_scheduler.LinearLR`, which multiplies the rate at every step: it drifts from the line by
    3e-12 of the rate when `total_iters` is 100,000.
    """
    check_number("linear_lr", "lr", lr)
    check_number("linear_lr", "start_factor", start_factor, 0.0, 1.0, open_low=True)
    check_number("linear_lr", "end_factor", end_factor, 0.0, 1.0)
    total_iters = check_integer("linear_lr", "total_iters", total_iters, 0)

    def factor(done: jax.Array) -> jax.Array:
        return anneal(linear, as_float64(start_factor), as_float64(end_factor), done, _length(total_iters))

    return _finishing(lr, total_iters, factor)


def polynomial_lr(lr: ArrayLike, total_iters: int = 5, power: ArrayLike = 1.0) -> Schedule:
    """Decay the rate to zero as a power of the share of counts that remain.

        lr · (1 - min(count, total_iters) / total_iters)^power

    Args:
        lr: the base rate, at least 0.
        total_iters: the count from which the rate is 0, at least 0; with 0 it never decays, as in PyTorch. Default 5.
        power: the exponent, at least 0. Default 1.

    Returns:
        A schedule: `count -> rate`, in the default float type.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if `total_iters` is not an integer.

    Example:
        >>> from jaxtrain import schedules
        >>> schedule = schedules.polynomial_lr(0.1, total_iters=4, power=2.0)
        >>> [round(float(schedule(count)), 6) for count in (0, 1, 2, 4, 5)]
        [0.1, 0.05625, 0.025, 0.0, 0.0]

    PyTorch: `torch.optim.lr_scheduler.PolynomialLR`, which multiplies the rate at every step: it drifts from the power
    by 9e-12 of the rate when `total_iters` is 100,000 and `power` 2.
    """
    check_number("polynomial_lr", "lr", lr)
    total_iters = check_integer("polynomial_lr", "total_iters", total_iters, 0)
    check_number("polynomial_lr", "power", power)

    def factor(done: jax.Array) -> jax.Array:
        length = _length(total_iters)
        return raised((length - done) / length, power)

    return _finishing(lr, total_iters, factor)


def _length(total_iters: int) -> jax.Array:
    """The length of the change as a divisor. Without a change it is 1, and the number of steps done stays 0."""
    return jnp.maximum(as_float64(total_iters), 1.0)


def _finishing(lr: ArrayLike, total_iters: int, factor_after: Callable[[jax.Array], jax.Array]) -> Schedule:
    """lr · factor_after(done), where at most `total_iters` steps get done."""

    def factor(count: jax.Array) -> jax.Array:
        return factor_after(jnp.minimum(count, as_float64(total_iters)))

    def step_factor(count: jax.Array) -> jax.Array:
        now, before = factor(count), jnp.where(count > 0, factor(jnp.maximum(count - 1, 0)), 1.0)
        # PyTorch leaves the rate alone once the change is over, even if it ended at zero.
        return jnp.where(before > 0, now / jnp.where(before > 0, before, 1.0), 1.0)

    return scaling(lr, factor, step_factor)
