"""What PyTorch computes between the layers that a port marks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from parity.diff.intercept import Change, FunctionCall
from parity.diff.records import Call, Place, Replayed
from parity.diff.torch_side import TorchLayer


class TorchPart:
    """A layer inside of another one, run from the start of that one, where earlier layers return what they returned.

    Args:
        host: the layer around it.
        target: the call of the layer inside.
        earlier: calls of layers that are marked before it.
    """

    def __init__(self, host: TorchLayer, target: Call, earlier: Sequence[Call]):
        self.target = target
        self.known = {call.place: call for call in earlier if len(call.outputs) == 1}
        self.host = host.with_forward(self._forward)

    def calls(self) -> list[FunctionCall]:
        return self.host.calls()

    def replay(
        self, dtype: str = "float64", changes: Mapping[int, Change] | None = None, gradients: bool = True
    ) -> Replayed:
        """The outputs of the layer; gradients are not looked at."""
        return self.host.replay(dtype, changes, gradients=False)

    def _forward(self, host: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        found: list[Any] = []
        counts: dict[str, int] = {}

        def hook(path: str) -> Callable[..., Any]:
            def after(layer: torch.nn.Module, args: Any, output: Any) -> Any:
                counts[path] = counts.get(path, -1) + 1
                place: Place = path, counts[path]
                if place == self.target.place:
                    found.append(output)
                if place in self.known and isinstance(output, torch.Tensor):
                    return torch.as_tensor(self.known[place].outputs[0]).to(output.dtype)
                return None

            return after

        for path in {self.target.path, *(path for path, _ in self.known)}:
            inner = path.removeprefix(self.host.prefix)
            if path.startswith(self.host.prefix) and inner:
                host.get_submodule(inner).register_forward_hook(hook(path))
        host(*args, **kwargs)
        return found[0]
