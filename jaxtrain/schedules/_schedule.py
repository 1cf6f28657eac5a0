"""What a schedule is: a pure function of the count, evaluated in float64."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_range
from jaxtrain._ground.dtypes import default_float
from jaxtrain._ground.epochs import Last, ends
from jaxtrain._ground.float64 import as_float64, in_float64, returned_number
from jaxtrain.schedules._affine import Affine

Rate = Callable[[jax.Array, jax.Array], jax.Array]


@dataclass(frozen=True, eq=False, repr=False)
class Schedule:
    """A pure function of the count: `schedule(count)` is the value after `count` scheduler steps.

    The functions of this room make them; an optimizer takes one wherever it takes a number. The attributes are for
    `sequential_lr`, `chained_scheduler` and `per_epoch`, see `schedules/composition.py`.

    Attributes:
        lr: the rate before the first step.
        rate: `rate(count, start)`, the value after `count` steps from the rate `start`.
        step: the single step to `count`; None if it is not the step of one scheduler.
        kind: whether a step sets the rate, scales it, or blends it with a value.
        resumes: in a sequence, the rate to start with as a function of the last rate before it; None to start at `lr`.
        sets_initial_lr: whether it also overwrites the rate from which other schedules start.
        last: returns the last count that has a value; None if all have.
        counts_steps: whether it counts training steps, because `per_epoch` made it or a part of it.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import schedules
        >>> schedule = schedules.step_lr(1.0, step_size=2, gamma=0.5)
        >>> isinstance(schedule, schedules.Schedule), schedule(jnp.arange(5)).tolist()
        (True, [1.0, 1.0, 0.5, 0.5, 0.25])

    PyTorch: `torch.optim.lr_scheduler.LRScheduler`, which edits the rate of its optimizer instead.
    """

    lr: ArrayLike
    rate: Rate
    step: Callable[[jax.Array], Affine] | None = None
    kind: Literal["sets", "scales", "blends"] = "sets"
    resumes: Callable[[jax.Array], jax.Array] | None = None
    sets_initial_lr: bool = False
    last: Last | None = None
    counts_steps: bool = False

    def __call__(self, count: ArrayLike) -> Float[Array, "*count"]:
        """The value after `count` scheduler steps.

        Args:
            count: a Python, NumPy or JAX number, traced or not, or an array of them; at least 0.

        Returns:
            The value, evaluated in float64 and rounded to the program's default float type, of the shape of the count.
            NaN for a traced count below 0.

        Raises:
            ValueError: if a count is negative.
        """
        try:
            check_range("a schedule", "count", count, 0)
        except ValueError as error:
            error.add_note("optax.join_schedules asks for counts before a schedule begins; use schedules.sequential_lr")
            raise
        ends(self.last)
        dtype = default_float()
        return in_float64(jnp.vectorize(self._value), count, dtype=dtype)

    def _value(self, count: jax.Array) -> jax.Array:
        count = as_float64(count)
        return jnp.where(count >= 0, self.rate(count, as_float64(self.lr)), jnp.nan)


def setting(
    value: Callable[[jax.Array], ArrayLike],
    lr: ArrayLike = jnp.nan,
    *,
    sets_initial_lr: bool = False,
    last: Last | None = None,
) -> Schedule:
    """A schedule that sets the rate to `value(count)`, whatever it was."""
    return Schedule(
        lr=lr,
        rate=lambda count, start: as_float64(value(count)),
        step=lambda count: Affine(scale=0.0, offset=as_float64(value(count))),
        sets_initial_lr=sets_initial_lr,
        last=last,
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
    return setting(lambda count: returned_number(where, "the rate", "a schedule", schedule(count)))


def check_list(where: str, name: str, value: Any, what: str) -> list[Any]:
    """`value` as a list; raise unless it is a sequence, an array with one axis, or another iterable."""
    refuse_optimizer(where, name, value, f"optim.sgd(schedules.{where}([...], ...))", f"a list of {what}")
    if not np.iterable(value) or isinstance(value, str):
        raise TypeError(f"{where}: {name} must be a list of {what}, got {value!r}; put it in brackets")
    return list(value)


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
    refuse_optimizer(where, name, value, f"optim.sgd(schedules.{where}(0.1, ...))")
    if callable(value):
        raise TypeError(
            f"{where}: {name} must be a number, not a schedule or function, got {value!r}; "
            "schedules are combined by sequential_lr and chained_scheduler"
        )
    if value is None or isinstance(value, str | bytes):
        raise TypeError(f"{where}: {name} must be a number, got {value!r}")
    if jnp.ndim(value):
        raise ValueError(
            f"{where}: {name} must be a scalar, got shape {jnp.shape(value)}; jax.vmap runs several at once"
        )
    check_range(where, name, value, low, high, open_low=open_low, open_high=open_high or math.isinf(high))


def refuse_optimizer(where: str, name: str, value: Any, instead: str, expected: str = "a number") -> None:
    """Raise `TypeError` if `value` is an optimizer, which PyTorch's schedulers take first."""
    if isinstance(value, optax.GradientTransformation | nnx.Optimizer) or hasattr(value, "param_groups"):
        raise TypeError(
            f"{where}: {name} must be {expected}, got an optimizer; here the optimizer gets the rate: {instead}"
        )


def check_callable(where: str, name: str, value: Any) -> None:
    if not callable(value):
        raise TypeError(f"{where}: {name} must be a function, got {value!r}")
