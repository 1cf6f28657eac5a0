"""Schedules that step once an epoch."""

from collections.abc import Callable

import jax
from jax.typing import ArrayLike

from jaxtrain._ground.checks import check_flag, check_integer
from jaxtrain._ground.epochs import Last, steps_of
from jaxtrain.schedules._schedule import Schedule, as_schedule


def per_epoch(
    schedule: Schedule | Callable[[jax.Array], ArrayLike],
    steps_per_epoch: int | None = None,
    *,
    fractional: bool = False,
) -> Schedule:
    """Turn a schedule that counts epochs into one that counts training steps.

        schedule(⌊step / steps_per_epoch⌋)
        schedule(step / steps_per_epoch)     if fractional

    PyTorch's schedulers are usually stepped once an epoch; Optax counts training steps.

    Args:
        schedule: a schedule of epochs; any callable of the count will do.
        steps_per_epoch: training steps in an epoch, at least 1. A last smaller batch is a step as well. Default None:
            `jaxtrain.train.fit` fills it in.
        fractional: whether the schedule moves within an epoch, too. Default False.

    Returns:
        A schedule: `step -> value`, in the default float type. Without `steps_per_epoch` it has values only in an
        optimizer that `fit` trains with.

    Raises:
        ValueError: if `steps_per_epoch` is below 1, or `per_epoch` made `schedule` or a part of it; when called, if the
            number is not known.
        TypeError: if it is not an integer, or `schedule` is not callable.

    Example:
        >>> from jaxtrain import schedules
        >>> schedule = schedules.per_epoch(schedules.step_lr(0.1, step_size=2), steps_per_epoch=100)
        >>> [round(float(schedule(step)), 6) for step in (0, 199, 200, 400)]
        [0.1, 0.1, 0.01, 0.001]

    PyTorch: `scheduler.step()` after every epoch; with `fractional`, `scheduler.step(epoch + i / steps_per_epoch)`
    after step `i` of every epoch, as documented for `CosineAnnealingWarmRestarts`.
    """
    schedule = as_schedule("per_epoch", schedule)
    if schedule.counts_steps:
        raise ValueError(
            "per_epoch: expected a schedule that counts epochs, got one that per_epoch made, which counts steps; call "
            "per_epoch once, on each part of a sequence of steps or around a sequence of epochs"
        )
    if steps_per_epoch is not None:
        steps_per_epoch = check_integer("per_epoch", "steps_per_epoch", steps_per_epoch, 1)
    check_flag("per_epoch", "fractional", fractional)

    def rate(count: jax.Array, start: jax.Array) -> jax.Array:
        steps = steps_of("per_epoch", steps_per_epoch)
        epoch = count // steps
        if fractional:
            epoch += count % steps / steps
        return schedule.rate(epoch, start)

    return Schedule(
        lr=schedule.lr,
        rate=rate,
        resumes=schedule.resumes,
        sets_initial_lr=schedule.sets_initial_lr,
        last=schedule.last and _last(schedule.last, steps_per_epoch, fractional),
        counts_steps=True,
    )


def _last(epoch: Last, steps_per_epoch: int | None, fractional: bool) -> Last:
    """The last step of a schedule whose last epoch is `epoch()`."""

    def last() -> float:
        steps = steps_of("per_epoch", steps_per_epoch)
        return epoch() * steps if fractional else (epoch() + 1) * steps - 1

    return last
