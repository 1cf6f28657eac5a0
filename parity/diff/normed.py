"""Residuals that carry the normalized input, where PyTorch's carry the input itself."""

from collections.abc import Iterator
from typing import Any

import torch

from parity.diff.causes import Layer, Same
from parity.diff.findings import Cause
from parity.diff.intercept import Change, FunctionCall
from parity.diff.mistakes.norms import NORMS


def normed_cause(layer: Layer, same: Same) -> Cause | None:
    """Whether PyTorch's layer computes what the port does when a sum takes what a norm made of its term."""
    for norm, total, at in _places(layer.calls()):
        changes = _changes(norm, total, at)
        try:
            if same(layer.replay(changes=changes, gradients=False), False):
                complete = same(layer.replay(changes=changes), True)
                fix = "keep the input as it is before the norm for the sum"
                return Cause("the residual carries the normalized input, PyTorch's the input itself", fix, complete)
        except (RuntimeError, TypeError, ValueError):
            continue
    return None


def _places(calls: list[FunctionCall]) -> Iterator[tuple[int, int, int]]:
    """A norm, a sum after it, and which term of that is what the norm was given."""
    norms = [at for at, call in enumerate(calls) if call.name in NORMS]
    for total, call in enumerate(calls):
        if call.name in ("add", "add_", "__radd__"):
            for at, term in enumerate(call.args[:2]):
                for norm in norms:
                    if norm < total and isinstance(term, torch.Tensor) and _alike(term, calls[norm].first):
                        yield norm, total, at


def _alike(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first is second or (first.shape == second.shape and torch.equal(first, second))


def _changes(norm: int, total: int, at: int) -> dict[int, Change]:
    kept: list[torch.Tensor] = []

    def keep(call: FunctionCall) -> Any:
        kept[:] = [call()]
        return kept[0]

    def use(call: FunctionCall) -> Any:
        return call.function(*(kept[0] if place == at else arg for place, arg in enumerate(call.args)), **call.kwargs)

    return {norm: keep, total: use}
