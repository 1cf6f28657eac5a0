"""What a run and the schedules in its optimizer tell each other: the steps in an epoch, and where a schedule ends.

The optimizer between them is a pair of functions that know neither. So a run calls these functions within `told`, and
the schedules that are evaluated there find the number of steps, and report their end.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

Last = Callable[[], float]
"""The last count for which a schedule has a value. Called within `told`, as it may depend on the steps in an epoch."""

ANY = 10**6
"""A number of steps for count 0, which is the beginning of the first epoch whatever its length."""


@dataclass
class Told:
    """What was said within `told`.

    Attributes:
        steps: steps in an epoch, None if the run does not know.
        asked: whether a schedule asked for them.
        lasts: the ends of the schedules that have one.
    """

    steps: int | None = None
    asked: bool = False
    lasts: list[Last] = field(default_factory=list)


_current: ContextVar[Told | None] = ContextVar("told", default=None)


@contextmanager
def told(steps: int | None) -> Iterator[Told]:
    """A context in which schedules know how many steps an epoch has. It collects what they say."""
    current = Told(steps)
    token = _current.set(current)
    try:
        yield current
    finally:
        _current.reset(token)


def steps_of(where: str, given: int | None) -> int:
    """Steps in an epoch: the number that a schedule was given, or else the run's.

    Raises:
        ValueError: if neither is known.
    """
    if given is not None:
        return given
    current = _current.get()
    if current is not None:
        current.asked = True
    if current is None or current.steps is None:
        raise ValueError(
            f"{where}: expected steps_per_epoch, got None, which only jaxtrain.train.fit can fill in; pass it in a "
            "loop that you write, and with Optax's own optimizers and MultiSteps, whose schedules fit cannot ask"
        )
    return current.steps


def ends(last: Last | None) -> None:
    """Tell the run, if there is one, where a schedule ends; None if it does not."""
    current = _current.get()
    if current is not None and last is not None:
        current.lasts.append(last)
