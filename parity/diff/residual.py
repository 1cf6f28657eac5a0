"""Blocks with residuals: the norm before the layer, after it, or on both ways."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from parity.diff.causes import Same
from parity.diff.findings import Cause
from parity.diff.records import Step
from parity.diff.torch_side import TorchLayer

Function = Callable[[torch.Tensor], torch.Tensor]


def block_cause(layer: TorchLayer, step: Step, same: Same) -> Cause | None:
    """Whether a block of norms and layers computes what the port does when it is put together otherwise."""
    prefix = f"{layer.call.path}." if layer.call.path else ""
    children = dict(layer.layer.named_children())
    order = [
        call.path.removeprefix(prefix)
        for call in step.calls
        if call.path.startswith(prefix) and call.path.removeprefix(prefix) in children and call.number == 0
    ]
    norms = [name for name in order if "norm" in type(children[name]).__name__.lower()]
    layers = [name for name in order if name not in norms and "drop" not in type(children[name]).__name__.lower()]
    if not norms or len(layers) < len(norms):
        return None
    for says, fix, forward in _arrangements(norms, layers):
        other = layer.with_forward(forward)
        try:
            if same(other.replay(gradients=False), False):
                return Cause(says, fix, complete=same(other.replay(), True))
        except (RuntimeError, TypeError, ValueError, AttributeError):
            continue
    return None


def _arrangements(norms: list[str], layers: list[str]) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    parts = _grouped(norms, layers)

    def build(step: Callable[[torch.Tensor, Function, Function], torch.Tensor]) -> Callable[..., Any]:
        def forward(block: torch.nn.Module, x: torch.Tensor, *rest: Any, **kwargs: Any) -> torch.Tensor:
            for norm, names in parts:

                def run(h: torch.Tensor, names: list[str] = names) -> torch.Tensor:
                    for name in names:
                        h = getattr(block, name)(h)
                    return h

                x = step(x, getattr(block, norm), run)
            return x

        return forward

    yield (
        "the norms come after the residuals (post-norm), PyTorch's before the layers (pre-norm)",
        "x = x + layer(norm(x))",
        build(lambda x, norm, run: norm(x + run(x))),
    )

    def early(block: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        """The block as it is, with each norm moved to the first of its layers."""
        for norm, names in parts:
            first = getattr(block, names[0])
            first.forward = _after(getattr(block, norm).forward, first.forward)
            getattr(block, norm).forward = lambda x: x
        return block(*args, **kwargs)

    yield (
        "the norms come before the layers (pre-norm), PyTorch's after the residuals (post-norm)",
        "x = norm(x + layer(x))",
        early,
    )
    yield (
        "the residual carries the normalized input",
        "add the input as it is before the norm",
        build(lambda x, norm, run: norm(x) + run(norm(x))),
    )
    yield (
        "the norm covers the layer alone, without the residual",
        "put the norm where PyTorch has it",
        build(lambda x, norm, run: x + norm(run(x))),
    )
    if len(parts) == 2:

        def swapped(block: torch.nn.Module, x: torch.Tensor, *rest: Any, **kwargs: Any) -> torch.Tensor:
            for (norm, _), (_, names) in zip(reversed(parts), parts, strict=True):
                h = getattr(block, norm)(x)
                for name in names:
                    h = getattr(block, name)(h)
                x = x + h
            return x

        yield "the two norms are swapped", "use each norm before its own layer", swapped

        def parallel(block: torch.nn.Module, x: torch.Tensor, *rest: Any, **kwargs: Any) -> torch.Tensor:
            total = x
            for norm, names in parts:
                h = getattr(block, norm)(x)
                for name in names:
                    h = getattr(block, name)(h)
                total = total + h
            return total

        yield "both layers read the block's input (in parallel)", "feed the second what the first returns", parallel


def _after(first: Callable[..., Any], second: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, *args, **kwargs: second(first(x), *args, **kwargs)


def _grouped(norms: list[str], layers: list[str]) -> list[tuple[str, list[str]]]:
    """Each norm with its layers, shared out evenly, in order."""
    share, extra = divmod(len(layers), len(norms))
    found, at = [], 0
    for index, norm in enumerate(norms):
        # Feed-forward parts, which come last, have more layers than attention.
        count = share + (index >= len(norms) - extra)
        found.append((norm, layers[at : at + count]))
        at += count
    return found
