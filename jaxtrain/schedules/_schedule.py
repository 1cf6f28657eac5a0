"""What a schedule is: a pure function of the count, evaluated in float64.

A scheduler of PyTorch steps by editing the rate of its optimizer, and composition (`SequentialLR`,
`ChainedScheduler`) shows it: each takes over the rate that another one left. Here a schedule says as pure functions
what it would do to that rate, and the compositions are pure functions again.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_range
from jaxtrain._ground.dtypes import default_float
from jaxtrain._ground.float64 import as_float64, in_float64
from jaxtrain.schedules._affine import Affine

Rate = Callable[[jax.Array, jax.Array], jax.Array]


@dataclass(frozen=True, eq=False, repr=False)
class Schedule:
    """A pure function of the count: `schedule(count)` is the value after `count` scheduler steps.

    The count is a Python, NumPy or JAX number, traced or not, or an array of them. The value is evaluated in float64
    and returned in the program's default float type, of the shape of the count. A negative count raises `ValueError`,
    and gives NaN where it is traced.

    The attributes say in float64 how the schedule acts on the rate of PyTorch's optimizer; compositions use them.

    Attributes:
        lr: the rate that the optimizer has before the schedule's first step.
        rate: `rate(count, start)`, the value after `count` steps of a schedule that found the rate `start`.
        step: the single step to `count`, as PyTorch's `get_lr` executes it; None if that is not one scheduler's step.
        kind: whether a step sets the rate, scales it, or blends it with a value.
        resumes: in `sequential_lr`, the `start` of a schedule that goes on from the rate that the one before it left.
            None for one that begins at its own `lr`: in PyTorch, one that has a closed form.
        sets_initial_lr: whether it also overwrites the rate from which other schedules start.
    """

    lr: ArrayLike
    rate: Rate
    step: Callable[[jax.Array], Affine] | None = None
    kind: Literal["sets", "scales", "blends"] = "sets"
    resumes: Callable[[jax.Array], jax.Array] | None = None
    sets_initial_lr: bool = False

    def __call__(self, count: ArrayLike) -> Float[Array, "*count"]:
        check_range("a schedule", "count", count, 0)
        dtype = default_float()
        return in_float64(jnp.vectorize(self._value), count, dtype=dtype)

    def _value(self, count: jax.Array) -> jax.Array:
        count = as_float64(count)
        return jnp.where(count >= 0, self.rate(count, as_float64(self.lr)), jnp.nan)


def setting(
    value: Callable[[jax.Array], ArrayLike], lr: ArrayLike = jnp.nan, *, sets_initial_lr: bool = False
) -> Schedule:
    """A schedule that sets the rate to `value(count)`, whatever it was."""
    return Schedule(
        lr=lr,
        rate=lambda count, start: as_float64(value(count)),
        step=lambda count: Affine(scale=0.0, offset=as_float64(value(count))),
        sets_initial_lr=sets_initial_lr,
    )


def scaling(
    lr: ArrayLike, factor: Callable[[jax.Array], jax.Array], step_factor: Callable[[jax.Array], jax.Array]
) -> Schedule:
    """A schedule `lr * factor(count)`, whose step to `count` multiplies the rate by `step_factor(count)`."""
    return Schedule(
        lr=lr,
        rate=lambda count, start: start * factor(count),
        step=lambda count: Affine(scale=step_factor(count)),
        kind="scales",
    )


def as_schedule(where: str, schedule: Schedule | Callable[[jax.Array], ArrayLike]) -> Schedule:
    """`schedule`, or any callable `count -> value` as a schedule that sets the rate."""
    if isinstance(schedule, Schedule):
        return schedule
    if not callable(schedule):
        raise TypeError(f"{where}: expected a schedule, a callable of the count, got {schedule!r}")
    return setting(schedule)


def check_number(
    where: str,
    name: str,
    value: Any,
    low: float = 0.0,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Raise unless `value` is a finite scalar from `low` to `high`, or traced."""
    if callable(value):
        raise TypeError(
            f"{where}: {name} must be a number, not a schedule or function, got {value!r}; "
            "schedules are combined by sequential_lr and chained_scheduler"
        )
    if jnp.ndim(value):
        raise ValueError(
            f"{where}: {name} must be a scalar, got shape {jnp.shape(value)}; jax.vmap runs several at once"
        )
    check_range(where, name, value, low, high, open_low=open_low, open_high=open_high or math.isinf(high))


def check_callable(where: str, name: str, value: Any) -> None:
    if not callable(value):
        raise TypeError(f"{where}: {name} must be a function, got {value!r}")
