"""Other numbers than PyTorch's in plain arithmetic: an ε that is added, a least value, n - 1 in a variance."""

from collections.abc import Iterator

import torch

from parity.diff.intercept import FunctionCall
from parity.diff.mistakes.mistake import Mistake

ADDED = (1e-5, 1e-6, 1e-8, 1e-12, 1e-7, 1e-3, 0.0, 1.0)


def added(call: FunctionCall) -> Iterator[Mistake]:
    """Norms and losses that are written by hand add an ε, or a term that smooths."""
    given = call.args[1] if len(call.args) > 1 else None
    if isinstance(given, int | float) and not isinstance(given, bool):
        for number in ADDED:
            if number != given:
                yield Mistake(
                    f"the number that is added is {number:g}, PyTorch's is {given:g} (an ε, perhaps)",
                    f"add {given:g}",
                    lambda call, number=number: call.function(call.args[0], number),
                )


def least(call: FunctionCall) -> Iterator[Mistake]:
    given = call.get("min", call.args[1] if len(call.args) > 1 else None)
    rest = call.args[2:], {name: value for name, value in call.kwargs.items() if name != "min"}
    if isinstance(given, int | float):
        for number in ADDED:
            if number != given:
                yield Mistake(
                    f"the least value is {number:g}, PyTorch's is {given:g}",
                    f"use jnp.maximum(x, {given:g})",
                    lambda call, number=number: call.function(call.first, number, *rest[0], **rest[1]),
                )
    yield Mistake("the values are not clamped", "use jnp.clip", lambda call: call.first.clone())


def variance(call: FunctionCall) -> Iterator[Mistake]:
    given = call.kwargs.get("unbiased", call.kwargs.get("correction", 1) != 0)
    axes = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else None)
    keep = call.kwargs.get("keepdim", call.args[3] if len(call.args) > 3 else False)
    if len(call.args) > 2:
        given = call.args[2]
    function = torch.std if call.name == "std" else torch.var
    yield Mistake(
        f"the {call.name} divides by {'n' if given else 'n - 1'}, PyTorch's by {'n - 1' if given else 'n'}",
        f"use jnp.{call.name}(x, ddof={int(bool(given))})",
        lambda call: function(call.first, dim=axes, correction=int(not given), keepdim=keep),
    )


RULES = (
    ({"add", "add_", "__radd__"}, (added,)),
    ({"clamp", "clamp_min", "clip"}, (least,)),
    ({"var", "std"}, (variance,)),
)
