"""Triangular cycles of the rate, and of the momentum against it."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxtrain._ground.checks import check_choice
from jaxtrain._ground.float64 import as_float64, raised, returned_number
from jaxtrain.schedules._schedule import Schedule, check_callable, check_number, setting

Mode = Literal["triangular", "triangular2", "exp_range"]
ScaleMode = Literal["cycle", "iterations"]
ScaleFn = Callable[[jax.Array], ArrayLike]


def cyclic_lr(
    base_lr: ArrayLike,
    max_lr: ArrayLike,
    step_size_up: ArrayLike = 2000,
    step_size_down: ArrayLike | None = None,
    mode: Mode = "triangular",
    gamma: ArrayLike = 1.0,
    scale_fn: ScaleFn | None = None,
    scale_mode: ScaleMode = "cycle",
) -> Schedule:
    """Move the rate back and forth between two values.

        base_lr + (max_lr - base_lr) · triangle(count) · scale

    The triangle rises from 0 to 1 in `step_size_up` counts and falls back in `step_size_down`. The scale depends on the
    mode:

        triangular    1
        triangular2   1 / 2^(cycle - 1), where the first cycle is 1
        exp_range     gamma^count

    Args:
        base_lr: the rate at the feet of the triangles, at least 0.
        max_lr: the rate at the top of an unscaled triangle, at least 0.
        step_size_up: counts from a foot to the top, above 0; may be fractional. Default 2000.
        step_size_down: counts from the top to the next foot, at least 0. Default None: `step_size_up`.
        mode: `"triangular"`, `"triangular2"` or `"exp_range"`; ignored if `scale_fn` is given. Default `"triangular"`.
        gamma: the base of `exp_range`, at least 0. Default 1.
        scale_fn: your own scale, a function from a float64 scalar to a factor, written with `jax.numpy`. Default None.
        scale_mode: the argument of `scale_fn`: `"cycle"`, the number of the cycle from 1, or `"iterations"`, the count.
            Default `"cycle"`.

    Returns:
        A schedule: `count -> rate`, in the default float type.

    Raises:
        ValueError: if an argument is out of range, or `mode` or `scale_mode` unknown.
        TypeError: if `scale_fn` is not callable.

    Example:
        >>> from jaxtrain import schedules
        >>> schedule = schedules.cyclic_lr(0.01, 0.11, step_size_up=4, mode="triangular2")
        >>> [round(float(schedule(count)), 6) for count in (0, 1, 4, 8, 12)]
        [0.01, 0.035, 0.11, 0.01, 0.06]

    PyTorch: `torch.optim.lr_scheduler.CyclicLR`, which by default cycles the momentum as well; here `cyclic_momentum`
    is a separate schedule. PyTorch's `triangular2` fails with `OverflowError` after 1,024 cycles; this one does not.

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, https://arxiv.org/abs/1506.01186
    """
    check_number("cyclic_lr", "base_lr", base_lr)
    check_number("cyclic_lr", "max_lr", max_lr)
    wave = _wave("cyclic_lr", step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode)

    def value(count: jax.Array) -> jax.Array:
        return as_float64(base_lr) + (as_float64(max_lr) - as_float64(base_lr)) * wave(count)

    return setting(value, base_lr)


def cyclic_momentum(
    base_momentum: ArrayLike = 0.8,
    max_momentum: ArrayLike = 0.9,
    step_size_up: ArrayLike = 2000,
    step_size_down: ArrayLike | None = None,
    mode: Mode = "triangular",
    gamma: ArrayLike = 1.0,
    scale_fn: ScaleFn | None = None,
    scale_mode: ScaleMode = "cycle",
) -> Schedule:
    """Move the momentum against a `cyclic_lr` of the same cycles: it is lowest where the rate is highest.

        max_momentum - (max_momentum - base_momentum) · triangle(count) · scale

    The triangle and its scale are the same as in `cyclic_lr`.

    Args:
        base_momentum: the momentum at the top of an unscaled triangle, from 0 to 1. Default 0.8.
        max_momentum: the momentum at the feet of the triangles, from 0 to 1. Default 0.9.
        step_size_up: counts in which the rate rises, above 0; may be fractional. Default 2000.
        step_size_down: counts in which the rate falls, at least 0. Default None: `step_size_up`.
        mode: `"triangular"`, `"triangular2"` or `"exp_range"`; ignored if `scale_fn` is given. Default `"triangular"`.
        gamma: the base of `exp_range`, at least 0. Default 1.
        scale_fn: your own scale, a function from a float64 scalar to a factor, written with `jax.numpy`. Default None.
        scale_mode: the argument of `scale_fn`: `"cycle"`, the number of the cycle from 1, or `"iterations"`, the count.
            Default `"cycle"`.

    Returns:
        A schedule: `count -> momentum` (or first beta), in the default float type.

    Raises:
        ValueError: if an argument is out of range, or `mode` or `scale_mode` unknown.
        TypeError: if `scale_fn` is not callable.

    Example:
        >>> from jaxtrain import schedules
        >>> schedule = schedules.cyclic_momentum(step_size_up=4)
        >>> [round(float(schedule(count)), 6) for count in (0, 1, 4, 8)]
        [0.9, 0.875, 0.8, 0.9]

    PyTorch: the `cycle_momentum=True` of `torch.optim.lr_scheduler.CyclicLR`, which writes it into the optimizer.
    """
    check_number("cyclic_momentum", "base_momentum", base_momentum, 0.0, 1.0)
    check_number("cyclic_momentum", "max_momentum", max_momentum, 0.0, 1.0)
    wave = _wave("cyclic_momentum", step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode)

    def value(count: jax.Array) -> jax.Array:
        return as_float64(max_momentum) - (as_float64(max_momentum) - as_float64(base_momentum)) * wave(count)

    return setting(value, max_momentum)


def _wave(
    where: str,
    step_size_up: ArrayLike,
    step_size_down: ArrayLike | None,
    mode: Mode,
    gamma: ArrayLike,
    scale_fn: ScaleFn | None,
    scale_mode: ScaleMode,
) -> Callable[[jax.Array], jax.Array]:
    """The scaled triangles, as a function of the count."""
    if step_size_down is None:
        step_size_down = step_size_up
    check_number(where, "step_size_up", step_size_up, open_low=True)
    check_number(where, "step_size_down", step_size_down)
    check_number(where, "gamma", gamma)
    if scale_fn is None:
        check_choice(where, "mode", mode, ("triangular", "triangular2", "exp_range"))
    else:
        check_callable(where, "scale_fn", scale_fn)
        check_choice(where, "scale_mode", scale_mode, ("cycle", "iterations"))

    def scale(count: jax.Array, cycle: jax.Array) -> ArrayLike:
        if scale_fn is not None:
            result = scale_fn(cycle if scale_mode == "cycle" else count)
            return returned_number(where, "the scale", "scale_fn", result)
        match mode:
            case "triangular":
                return 1.0
            case "triangular2":
                return raised(0.5, cycle - 1)
            case "exp_range":
                return raised(gamma, count)

    def wave(count: jax.Array) -> jax.Array:
        # Remainders are exact; PyTorch's `1 + count / period - cycle` loses the digits that the cycle number takes.
        period = as_float64(step_size_up) + as_float64(step_size_down)
        peak = as_float64(step_size_up) / period
        cycle = 1 + count // period
        position = count % period / period
        triangle = jnp.where(position <= peak, position / peak, (position - 1) / (peak - 1))
        return triangle * as_float64(scale(count, cycle))

    return wave
