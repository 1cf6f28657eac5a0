"""Rates that follow your own function."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxtrain._ground.float64 import as_float64, returned_number
from jaxtrain.schedules._affine import Affine, fold
from jaxtrain.schedules._schedule import Schedule, check_callable, check_number, setting


def lambda_lr(lr: ArrayLike, lr_lambda: Callable[[jax.Array], ArrayLike]) -> Schedule:
    """Multiply the base rate by a function of the count.

        lr · lr_lambda(count)

    Args:
        lr: the base rate, at least 0.
        lr_lambda: a function from the count, a float64 scalar, to the factor. Under `jit` the count is traced, so write
            it with `jax.numpy` and `jnp.where` instead of `math` and `if`.

    Returns:
        A schedule: `count -> rate`, in the default float type.

    Raises:
        ValueError: if `lr` is out of range.
        TypeError: if `lr_lambda` is not callable.

    Example:
        >>> from jaxtrain import schedules
        >>> schedule = schedules.lambda_lr(0.1, lambda count: 1 / (1 + 0.5 * count))
        >>> [round(float(schedule(count)), 6) for count in (0, 2, 18)]
        [0.1, 0.05, 0.01]

    PyTorch: `torch.optim.lr_scheduler.LambdaLR`, which takes one function a parameter group.
    """
    check_number("lambda_lr", "lr", lr)
    factor = _returning_numbers("lambda_lr", lr_lambda)
    return setting(lambda count: as_float64(lr) * factor(count), lr)


def multiplicative_lr(lr: ArrayLike, lr_lambda: Callable[[jax.Array], ArrayLike]) -> Schedule:
    """Multiply the rate at every count by a function of the count.

        lr · lr_lambda(1) · lr_lambda(2) · … · lr_lambda(count)

    The whole product is computed for every value: at count 100,000 that takes a CPU 1 ms with a cheap function, and
    20 ms with a power in it. If you know the product in closed form, use `lambda_lr`.

    Args:
        lr: the base rate, at least 0.
        lr_lambda: a function from the count, a traced float64 scalar, to the factor.

    Returns:
        A schedule: `count -> rate`, in the default float type.

    Raises:
        ValueError: if `lr` is out of range.
        TypeError: if `lr_lambda` is not callable.

    Example:
        >>> from jaxtrain import schedules
        >>> schedule = schedules.multiplicative_lr(0.1, lambda count: 1 - 1 / (count + 1))
        >>> [round(float(schedule(count)), 6) for count in (0, 1, 3)]
        [0.1, 0.05, 0.025]

    PyTorch: `torch.optim.lr_scheduler.MultiplicativeLR`, which takes one function a parameter group. In `sequential_lr`
    it continues from the rate that it finds, and multiplies it by `lr_lambda(0)` first.
    """
    check_number("multiplicative_lr", "lr", lr)
    factor = _returning_numbers("multiplicative_lr", lr_lambda)

    def step(count: jax.Array) -> Affine:
        return Affine(scale=jnp.where(count > 0, factor(count), 1.0))

    return Schedule(
        lr=lr,
        rate=lambda count, start: start * fold(step, count).scale,
        step=step,
        kind="scales",
        resumes=lambda rate: rate * factor(jnp.zeros_like(rate)),
    )


def _returning_numbers(where: str, lr_lambda: Callable[[jax.Array], ArrayLike]) -> Callable[[jax.Array], jax.Array]:
    """`lr_lambda` with its results as float64 scalars; raise unless they are numbers."""
    check_callable(where, "lr_lambda", lr_lambda)
    return lambda count: returned_number(where, "the factor", "lr_lambda", lr_lambda(count))
