"""PyTorch with a rounding after every operation: how far a right implementation in a precision may be off."""

from typing import Any

import ml_dtypes
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only


class RoundedOperations(TorchDispatchMode):
    """Rounds every float64 result, forward and backward, to a neighbour in a precision: the one above or below.

    Which one is chance. Numbers that the precision holds stay as they are.
    """

    def __init__(self, precision: str, seed: int) -> None:
        super().__init__()
        self._info = ml_dtypes.finfo(precision)
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        results = func(*args, **(kwargs or {}))
        aliases = [returned.alias_info for returned in func._schema.returns]
        if any(alias and not alias.is_write for alias in aliases):
            return results  # A view.
        if any(aliases):
            for result in tree_leaves(results):
                if isinstance(result, torch.Tensor) and result.dtype == torch.float64:
                    result.copy_(self._rounded(result))
            return results
        return tree_map_only(torch.Tensor, self._rounded, results)

    def _rounded(self, values: torch.Tensor) -> torch.Tensor:
        if values.dtype != torch.float64:
            return values
        exponents = torch.frexp(values).exponent.clamp(min=int(self._info.minexp) + 1)
        step = torch.ldexp(torch.ones_like(values), exponents - 1 - int(self._info.nmant))
        up = torch.rand(values.shape, generator=self._generator, dtype=values.dtype) < 0.5
        steps = values / step
        return torch.where(torch.isfinite(values), torch.where(up, steps.ceil(), steps.floor()) * step, values)
