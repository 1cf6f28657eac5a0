"""Mistakes in masks that a model makes itself: of padding, of positions."""

from collections.abc import Iterator
from typing import Any

import torch

from parity.diff.intercept import FunctionCall
from parity.diff.mistakes.mistake import Mistake

COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge", "__eq__", "__ne__", "isin", "isnan", "logical_not", "__invert__"}
TAKEN = {"float", "to", "bool", "unsqueeze", "__getitem__", "__rsub__", "expand"}


def compared(call: FunctionCall) -> Iterator[Mistake]:
    result = call()
    if isinstance(result, torch.Tensor) and result.dtype == torch.bool:
        yield from _ignored(call, result)
        yield Mistake("the mask is inverted", "invert it", lambda call: ~call())


def taken(call: FunctionCall) -> Iterator[Mistake]:
    """A mask that the model is given."""
    if call.first.ndim > 1 and is_mask(call.first):
        yield from _ignored(call, call())


def _ignored(call: FunctionCall, result: torch.Tensor) -> Iterator[Mistake]:
    def filled(value: int) -> Any:
        if call.name in COMPARISONS:
            return lambda call: torch.full_like(call(), bool(value))
        return lambda call: call.function(torch.full_like(call.first, value), *call.args[1:], **call.kwargs)

    for value in (1, 0):
        yield Mistake(
            f"the mask is ignored: it is {value} everywhere",
            "use it as PyTorch does (for padding, perhaps)",
            filled(value),
        )


def counted(call: FunctionCall) -> Iterator[Mistake]:
    if is_mask(call.first):
        yield Mistake(
            "the sum of the mask counts what it leaves out, too (the mean runs over the padding)",
            "divide by the number of the elements that count",
            lambda call: call.function(torch.ones_like(call.first), *call.args[1:], **call.kwargs),
        )


def is_mask(tensor: torch.Tensor) -> bool:
    """Whether it holds zeros and ones alone."""
    return bool(((tensor == 0) | (tensor == 1)).all())


RULES = ((COMPARISONS, (compared,)), (TAKEN, (taken,)), ({"sum"}, (counted,)))
