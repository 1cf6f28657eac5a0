"""PyTorch in half precision, where it lacks some kernels."""

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only


class Float32WhereMissing(TorchFunctionMode):
    """Computes what has no kernel in a precision in float32, and rounds the result to it, as a user would."""

    def __init__(self, precision: str) -> None:
        super().__init__()
        self._dtype = getattr(torch, precision)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        try:
            return func(*args, **kwargs)
        except NotImplementedError:
            args = tree_map_only(torch.Tensor, self._widened, args)
            kwargs = {name: tree_map_only(torch.Tensor, self._widened, value) for name, value in kwargs.items()}
            return tree_map_only(torch.Tensor, self._narrowed, func(*args, **kwargs))

    def _widened(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.float() if tensor.dtype == self._dtype else tensor

    def _narrowed(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._dtype) if tensor.dtype == torch.float32 else tensor
