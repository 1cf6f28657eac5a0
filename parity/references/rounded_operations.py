"""PyTorch with a rounding after every operation: how far a right implementation in a precision may be off."""

from typing import Any

import ml_dtypes
import torch
from torch._decomp import get_decompositions
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from parity.references import elementary, long_sums
from parity.references.norms_in_steps import NORMS

aten: Any = torch.ops.aten
IN_STEPS = NORMS | get_decompositions(
    [
        aten.native_layer_norm_backward.default,
        aten.native_group_norm_backward.default,
        aten.native_batch_norm_backward.default,
        aten.tanh_backward.default,
        aten.sigmoid_backward.default,
        aten.gelu.default,
        aten.gelu_backward.default,
        aten.silu.default,
        aten.silu_backward.default,
        aten.mish.default,
        aten.mish_backward.default,
        aten._softmax.default,
        aten._softmax_backward_data.default,
        aten._log_softmax.default,
        aten._log_softmax_backward_data.default,
        aten.mse_loss.default,
        aten.mse_loss_backward.default,
        aten.huber_loss.default,
        aten.huber_loss_backward.default,
        aten.smooth_l1_loss.default,
        aten.smooth_l1_loss_backward.default,
        aten.soft_margin_loss.default,
        aten.soft_margin_loss_backward.default,
        aten.binary_cross_entropy.default,
        aten.binary_cross_entropy_backward.default,
        aten.binary_cross_entropy_with_logits.default,
        aten.nll_loss_forward.default,
    ]
)
"""What PyTorch computes in one operation though it has several, as these."""


class RoundedOperations(TorchDispatchMode):
    """Rounds every float64 result, forward and backward, to a neighbour in a precision: the one above or below.

    Which one is chance. Numbers that the precision holds stay as they are, and so do sparse tensors. The additions of a
    sum are rounded, too, and elementary functions are as inexact as XLA's.

    Args:
        precision: name of a dtype.
        seed: of the roundings.
        fewer_bits: by how many bits the grid is coarser than the precision's.
    """

    def __init__(self, precision: str, seed: int, fewer_bits: int = 0) -> None:
        super().__init__()
        info = ml_dtypes.finfo(precision)
        self._precision, self._coarser = precision, 2.0**fewer_bits
        self._bits, self._smallest_exponent = int(info.nmant) - fewer_bits, int(info.minexp)
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in IN_STEPS:
            with self:
                return IN_STEPS[func](*args, **kwargs)
        is_elementary = elementary.name(func) in elementary.FUNCTIONS and args[0].dtype == torch.float64
        input = args[0].clone() if is_elementary else None
        results = func(*args, **kwargs)
        if input is not None:
            off = elementary.errors(func, input, results, self._precision) * self._coarser
            results = (
                results.add_(off * self._chance(off)) if func._schema.is_mutable else results + off * self._chance(off)
            )
        aliases = [returned.alias_info for returned in func._schema.returns]
        if any(alias and not alias.is_write for alias in aliases):
            return results  # A view.
        if any(aliases):
            for result in tree_leaves(results):
                if isinstance(result, torch.Tensor) and _has_roundings(result):
                    result.copy_(self._rounded(result))
            return results
        if func in long_sums.COUNTS:
            results = tree_map(self._moved, results, long_sums.deviations(func, args, kwargs, results))
        return tree_map_only(torch.Tensor, self._rounded, results)

    def _moved(self, sums: torch.Tensor | None, deviations: torch.Tensor | None) -> torch.Tensor | None:
        if sums is None or deviations is None or sums.dtype != torch.float64:
            return sums
        return sums + self._chance(sums) * deviations * 2.0**-self._bits

    def _chance(self, like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=self._generator, dtype=like.dtype)

    def _rounded(self, values: torch.Tensor) -> torch.Tensor:
        if not _has_roundings(values):
            return values
        exponents = torch.frexp(values).exponent.clamp(min=self._smallest_exponent + 1)
        step = torch.ldexp(torch.ones_like(values), exponents - 1 - self._bits)
        up = torch.rand(values.shape, generator=self._generator, dtype=values.dtype) < 0.5
        steps = values / step
        return torch.where(torch.isfinite(values), torch.where(up, steps.ceil(), steps.floor()) * step, values)


def _has_roundings(values: torch.Tensor) -> bool:
    return values.dtype == torch.float64 and not values.is_sparse
