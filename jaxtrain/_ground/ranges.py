"""Ranges of numbers: one notation that validates arguments, appears in messages and yields invalid values for tests."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """The numbers from `low` to `high`, with or without its ends.

    Attributes:
        low: the lower end; it may be infinite.
        high: the upper end; it may be infinite.
        open_low: whether the lower end is excluded.
        open_high: whether the upper end is excluded.
        or_none: whether None is allowed as well.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    or_none: bool = False

    def __str__(self) -> str:
        return f"{'(' if self.open_low else '['}{self.low:g}, {self.high:g}{')' if self.open_high else ']'}"


ANY = Interval()
NOT_NEGATIVE = Interval(0.0)
POSITIVE = Interval(0.0, open_low=True)
DECAY_RATE = Interval(0.0, 1.0, open_high=True)
