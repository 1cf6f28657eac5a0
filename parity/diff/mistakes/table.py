"""The table of known mistakes: which rules apply to which function. The likely ones come first."""

from collections.abc import Iterator

from parity.diff.intercept import FunctionCall
from parity.diff.mistakes import (
    arithmetic,
    attention,
    losses,
    masks,
    nonlinear,
    norms,
    numbers,
    products,
    recurrent,
    resizing,
    shapes,
)
from parity.diff.mistakes.mistake import Mistake

ROOMS = (norms, nonlinear, products, attention, recurrent, losses, shapes, resizing, masks, numbers, arithmetic)


def mistakes_of(call: FunctionCall) -> Iterator[Mistake]:
    """The mistakes that ports make in this call."""
    for room in ROOMS:
        for functions, rules in room.RULES:
            if call.name in functions:
                for rule in rules:
                    try:
                        yield from rule(call)
                    except (TypeError, ValueError, AttributeError, IndexError, RuntimeError):
                        continue  # The call has other arguments than the rule knows.
