"""Models that make one vector of many positions, in another way than PyTorch's."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from parity.diff.causes import Same
from parity.diff.findings import Cause
from parity.diff.intercept import Change, FunctionCall
from parity.diff.torch_side import TorchLayer

Pool = Callable[[torch.Tensor], torch.Tensor]

OVER_POSITIONS: dict[str, Pool] = {
    "the mean over all positions": lambda x: x.mean(1),
    "the first position": lambda x: x[:, 0],
    "the last position": lambda x: x[:, -1],
    "the maximum over all positions": lambda x: x.amax(1),
    "the sum over all positions": lambda x: x.sum(1),
    "the mean over all positions but the first": lambda x: x[:, 1:].mean(1),
    "the mean over all positions but the last": lambda x: x[:, :-1].mean(1),
}
OVER_PIXELS: dict[str, Pool] = {
    "the mean over all pixels": lambda x: x.mean((2, 3)),
    "the maximum over all pixels": lambda x: x.amax((2, 3)),
    "the sum over all pixels": lambda x: x.sum((2, 3)),
}
NEAR = 3
"""How many values before the pooled one, and how many uses of it, are tried."""


def pooled_cause(layer: TorchLayer, same: Same) -> Cause | None:
    """Whether PyTorch's layer computes what the port does when it pools in another way."""
    calls = layer.calls()
    for source, use in _places(calls):
        wide = calls[source].first.ndim == 4
        for name, pool in (OVER_PIXELS if wide else OVER_POSITIONS).items():
            changes = _changes(source, use, pool)
            try:
                if not same(layer.replay(changes=changes, gradients=False), False):
                    continue
                complete = same(layer.replay(changes=changes), True)
            except (RuntimeError, TypeError, ValueError, IndexError):
                continue
            return Cause(
                f"{name} goes on to the next layer, PyTorch pools in another way", "pool as PyTorch does", complete
            )
    return None


def _places(calls: list[FunctionCall]) -> Iterator[tuple[int, int]]:
    """The calls that are given many vectors, each with the calls after it that are given one of that size."""
    uses = [at for at, call in enumerate(calls) if _floats(call, 2)]
    for use in reversed(uses[-NEAR:]):
        x = calls[use].first
        sources = [
            at
            for at, call in enumerate(calls[:use])
            if (_floats(call, 3) and (call.first.shape[0], call.first.shape[2]) == x.shape)
            or (_floats(call, 4) and call.first.shape[:2] == x.shape)
        ]
        for source in reversed(sources[-NEAR:]):
            yield source, use


def _floats(call: FunctionCall, ndim: int) -> bool:
    first = call.args[0] if call.args else None
    return isinstance(first, torch.Tensor) and first.is_floating_point() and first.ndim == ndim


def _changes(source: int, use: int, pool: Pool) -> dict[int, Change]:
    kept: list[torch.Tensor] = []

    def keep(call: FunctionCall) -> Any:
        kept[:] = [call.first]
        return call()

    return {source: keep, use: lambda call: call.function(pool(kept[0]), *call.args[1:], **call.kwargs)}
