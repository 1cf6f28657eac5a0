"""The one-cycle policy: the rate rises once and falls far below its start, and the momentum moves against it."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxtrain._ground.checks import check_choice, check_flag, check_integer
from jaxtrain._ground.epochs import steps_of
from jaxtrain._ground.float64 import as_float64
from jaxtrain.schedules._anneal import WEIGHTS, anneal
from jaxtrain.schedules._schedule import Schedule, check_number, setting

Strategy = Literal["cos", "linear"]


def one_cycle_lr(
    max_lr: ArrayLike,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: Strategy = "cos",
    div_factor: ArrayLike = 25.0,
    final_div_factor: ArrayLike = 1e4,
    three_phase: bool = False,
) -> Schedule:
    """Anneal the rate from `initial = max_lr / div_factor` up to `max_lr`, and down to `initial / final_div_factor`.

    The top is at count `pct_start * total_steps - 1`, the end at `total_steps - 1`. With `three_phase` the rate first
    falls to `initial` as fast as it rose, at count `2 * pct_start * total_steps - 2`.

    Args:
        max_lr: the rate at the top, at least 0.
        total_steps: the length of the cycle in counts, at least 1. Default None: `epochs * steps_per_epoch`.
        epochs: the length of the cycle in epochs, at least 1; needed if `total_steps` is None. Default None.
        steps_per_epoch: the number of counts in an epoch, at least 1. Default None: `jaxtrain.train.fit` fills it in.
        pct_start: the fraction of the cycle in which the rate rises, a float from 0 to 1. Default 0.3.
        anneal_strategy: `"cos"` along a cosine, or `"linear"` along a straight line. Default `"cos"`.
        div_factor: `max_lr` divided by the first rate, above 0. Default 25.
        final_div_factor: the first rate divided by the last, above 0. Default 1e4.
        three_phase: whether the rate falls in two phases, first to the initial rate. Default False.

    Returns:
        A schedule: `count -> rate`, in the default float type. As in PyTorch, the last phase continues for one
        more count, `total_steps`; later counts, which PyTorch rejects, give NaN.

    Raises:
        ValueError: if an argument is out of range, the length is missing, or the first phase has a length of zero.

    Example:
        >>> from jaxtrain import schedules
        >>> schedule = schedules.one_cycle_lr(0.1, total_steps=10)
        >>> [round(float(schedule(count)), 6) for count in (0, 1, 2, 5, 9)]
        [0.004, 0.052, 0.1, 0.061126, 0.0]

    PyTorch: `torch.optim.lr_scheduler.OneCycleLR`, which by default cycles the momentum as well; here
    `one_cycle_momentum` is a separate schedule. Where `pct_start * total_steps` is 1, PyTorch divides by zero.

    Source: Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates",
    2018, https://arxiv.org/abs/1708.07120
    """
    check_number("one_cycle_lr", "max_lr", max_lr)
    check_number("one_cycle_lr", "div_factor", div_factor, open_low=True)
    check_number("one_cycle_lr", "final_div_factor", final_div_factor, open_low=True)
    cycle = _Cycle("one_cycle_lr", total_steps, epochs, steps_per_epoch, pct_start, three_phase)
    check_choice("one_cycle_lr", "anneal_strategy", anneal_strategy, WEIGHTS)

    def value(count: jax.Array) -> jax.Array:
        top = as_float64(max_lr)
        initial = top / as_float64(div_factor)
        last = initial / as_float64(final_div_factor)
        return _phases(
            count, cycle.ends(), [initial, top, initial, last] if three_phase else [initial, top, last], anneal_strategy
        )

    return setting(value, max_lr / div_factor, sets_initial_lr=True, last=cycle.total)


def one_cycle_momentum(
    base_momentum: ArrayLike = 0.85,
    max_momentum: ArrayLike = 0.95,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: Strategy = "cos",
    three_phase: bool = False,
) -> Schedule:
    """Anneal the momentum from `max_momentum` to `base_momentum` and back, against the rate of a `one_cycle_lr`.

    Args:
        base_momentum: the momentum where the rate is highest, from 0 to 1. Default 0.85.
        max_momentum: the momentum at the beginning and at the end, from 0 to 1. Default 0.95.
        total_steps: the length of the cycle in counts, at least 1. Default None: `epochs * steps_per_epoch`.
        epochs: the length of the cycle in epochs, at least 1; needed if `total_steps` is None. Default None.
        steps_per_epoch: the number of counts in an epoch, at least 1. Default None: `jaxtrain.train.fit` fills it in.
        pct_start: the fraction of the cycle in which the rate rises, a float from 0 to 1. Default 0.3.
        anneal_strategy: `"cos"` along a cosine, or `"linear"` along a straight line. Default `"cos"`.
        three_phase: whether the momentum rises as fast as it fell, and then stays. Default False.

    Returns:
        A schedule: `count -> momentum` (or first beta), in the default float type. Counts after `total_steps` give NaN.

    Raises:
        ValueError: if an argument is out of range, the length is missing, or the first phase has a length of zero.

    Example:
        >>> from jaxtrain import schedules
        >>> schedule = schedules.one_cycle_momentum(total_steps=10)
        >>> [round(float(schedule(count)), 6) for count in (0, 1, 2, 9)]
        [0.95, 0.9, 0.85, 0.95]

    PyTorch: the `cycle_momentum=True` of `torch.optim.lr_scheduler.OneCycleLR`, which writes it into the optimizer.
    """
    check_number("one_cycle_momentum", "base_momentum", base_momentum, 0.0, 1.0)
    check_number("one_cycle_momentum", "max_momentum", max_momentum, 0.0, 1.0)
    cycle = _Cycle("one_cycle_momentum", total_steps, epochs, steps_per_epoch, pct_start, three_phase)
    check_choice("one_cycle_momentum", "anneal_strategy", anneal_strategy, WEIGHTS)

    def value(count: jax.Array) -> jax.Array:
        high, low = as_float64(max_momentum), as_float64(base_momentum)
        momenta = [high, low, high, high] if three_phase else [high, low, high]
        return _phases(count, cycle.ends(), momenta, anneal_strategy)

    return setting(value, max_momentum, last=cycle.total)


class _Cycle:
    """How long a cycle and its phases are. The steps in an epoch may be known only when the schedule is called."""

    def __init__(
        self,
        where: str,
        total_steps: int | None,
        epochs: int | None,
        steps_per_epoch: int | None,
        pct_start: float,
        three_phase: bool,
    ) -> None:
        if total_steps is None and epochs is None:
            raise ValueError(f"{where}: expected total_steps or epochs, got neither; pass one of them")
        if total_steps is not None:
            self._count, steps_per_epoch = check_integer(where, "total_steps", total_steps, 1), 1
        else:
            self._count = check_integer(where, "epochs", epochs, 1)
        if steps_per_epoch is not None:
            steps_per_epoch = check_integer(where, "steps_per_epoch", steps_per_epoch, 1)
        check_flag(where, "three_phase", three_phase)
        if not isinstance(pct_start, float):
            raise ValueError(f"{where}: pct_start must be a float, the fraction of the rise, got {pct_start!r}")
        check_number(where, "pct_start", pct_start, 0.0, 1.0)
        self._where, self._steps_per_epoch = where, steps_per_epoch
        self._pct_start, self._three_phase = pct_start, three_phase
        if steps_per_epoch is not None:
            self.ends()

    def total(self) -> int:
        """The length of the cycle in counts, which is also the last count that has a value."""
        return self._count * steps_of(self._where, self._steps_per_epoch)

    def ends(self) -> list[float]:
        """The count at which the first phase begins, and the counts at which the phases end."""
        total = self.total()
        rise = self._pct_start * total - 1
        if rise == 0:
            raise ValueError(
                f"{self._where}: pct_start * total_steps must not be 1, which leaves no count for the rise, got "
                f"{self._pct_start} * {total}; use pct_start=0.0 to begin at the top"
            )
        if self._three_phase:
            return [0.0, rise, 2 * self._pct_start * total - 2, total - 1.0]
        return [0.0, rise, total - 1.0]


def _phases(count: jax.Array, ends: Sequence[float], values: Sequence[jax.Array], strategy: Strategy) -> jax.Array:
    """Anneal through `values` as the count goes through `ends`, and for one more count."""
    result: jax.Array | float = math.nan
    reach = ends[-1] + 1
    for (begin, end), (start, stop) in reversed(list(zip(pairwise(ends), pairwise(values), strict=True))):
        # PyTorch enters a phase of length zero only after the end, and divides by zero there.
        if begin != end:
            phase = anneal(WEIGHTS[strategy], start, stop, count - begin, end - begin)
            result = jnp.where(count <= reach, phase, result)
        reach = begin
    return as_float64(result)
