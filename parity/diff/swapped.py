"""Two layers or parameters of one shape, each in the place of the other."""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import torch

from parity.diff.causes import Same
from parity.diff.findings import Cause
from parity.diff.torch_side import TorchLayer

MOST = 28
"""How many pairs are tried."""


def swapped_cause(layer: TorchLayer, same: Same) -> Cause | None:
    """Whether PyTorch's layer computes what the port does when two of its layers or parameters change places."""
    for kind, first, second in list(_pairs(layer.layer))[:MOST]:
        other = layer.with_forward(_swapping(kind, first, second))
        try:
            if same(other.replay(gradients=False), False):
                fix = f"use {first!r} where PyTorch does (or load them the other way round)"
                return Cause(f"{first!r} and {second!r} are swapped", fix, complete=same(other.replay(), True))
        except (RuntimeError, TypeError, ValueError):
            continue
    return None


def _pairs(module: torch.nn.Module) -> Iterator[tuple[str, str, str]]:
    parameters = {name: p for name, p in module._parameters.items() if p is not None}
    for first, second in combinations(parameters, 2):
        if parameters[first].shape == parameters[second].shape:
            yield "_parameters", first, second
    children = dict(module.named_children())
    for first, second in combinations(children, 2):
        if _shapes(children[first]) == _shapes(children[second]):
            yield "_modules", first, second


def _shapes(module: torch.nn.Module) -> list[Any]:
    return (
        [type(module), *(tuple(p.shape) for p in module.parameters())]
        if any(True for _ in module.parameters())
        else [id(module)]
    )


def _swapping(kind: str, first: str, second: str) -> Callable[..., Any]:
    def forward(layer: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        own = getattr(layer, kind)
        own[first], own[second] = own[second], own[first]
        try:
            return layer(*args, **kwargs)
        finally:  # Gradients go by names.
            own[first], own[second] = own[second], own[first]

    return forward
