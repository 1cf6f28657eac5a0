"""Other learning rates for the draws of a case.

Optimizers that divide by the size of the gradients, or take their signs alone, go nearly the same way with other
gradients. Without other rates they would make the same roundings in every draw: one sample, however many draws.
"""

from functools import partial
from inspect import signature
from typing import Any

from parity import draws


def with_other_rates(number: int, ours: Any, reference: Any) -> tuple[Any, Any]:
    """What makes the optimizer on each side, with the learning rate of a draw, a part of its own.

    Both stay as they are unless each is a `functools.partial` with named arguments and its learning rate is a number.
    """
    rate, torch_rate = _rate(ours), _rate(reference)
    if rate is None or torch_rate is None:
        return ours, reference
    factor = draws.factor(number)
    return partial(ours, lr=rate * factor), partial(reference, lr=torch_rate * factor)


def _rate(side: Any) -> Any:
    """The learning rate with which an optimizer is made; None if it is not a number."""
    if not isinstance(side, partial) or side.args:
        return None
    default = signature(side.func).parameters.get("lr")
    rate = side.keywords.get("lr", default.default if default else None)
    return None if callable(rate) else rate
