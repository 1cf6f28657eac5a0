"""How rounding acts inside PyTorch's sums, the operations that add many terms."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

aten: Any = torch.ops.aten
Count = Callable[..., Any]


def deviations(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], results: Any) -> Any:
    """The deviation of each result of a sum in low precision, in relative steps of its grid, if all additions round.

    Terms in a random order have partial sums whose mean square is S²/3 + T/6, where S is the whole sum and T the sum of
    the squares of the terms. Each of the n partial sums, and each term, is rounded up or down, by a third of the square
    of a step in the mean.

    Args:
        func: a sum, a key of `COUNTS`.
        args: its arguments.
        kwargs: its arguments by name.
        results: one array, or a tuple of arrays and None.
    """
    squares = func(*tree_map_only(torch.Tensor, torch.square, args), **kwargs)
    counts = COUNTS[func](*args)

    def deviation(sums: torch.Tensor | None, squares: torch.Tensor, count: float) -> torch.Tensor | None:
        if sums is None:
            return None
        squares = squares / count if func in MEANS else squares
        return ((count * (sums.square() / 3 + squares / 6) + squares) / 3).sqrt()

    if isinstance(results, torch.Tensor):
        return deviation(results, squares, counts)
    return tuple(map(deviation, results, squares, counts))


def _reduced(input: torch.Tensor, axes: Any = None, *_: Any) -> int:
    return math.prod(input.shape[axis] for axis in (axes or range(input.ndim)))


def _product(*arrays: torch.Tensor) -> int:
    return arrays[-2].shape[-1]


def _convolution(input: torch.Tensor, weight: torch.Tensor, bias: Any, *options: Any) -> float:
    *_, transposed, _, groups = options
    return weight.numel() / weight.shape[1] / groups if transposed else weight[0].numel()


def _convolution_backward(
    gradient: torch.Tensor, input: torch.Tensor, weight: torch.Tensor, bias_sizes: Any, *options: Any
) -> tuple[float, float, float]:
    *_, transposed, _, groups, _ = options
    of_input = weight[0].numel() if transposed else weight.numel() / weight.shape[1] / groups
    positions = gradient.numel() / gradient.shape[1]
    return of_input, input.numel() / input.shape[1] if transposed else positions, positions


MEANS = {aten.mean.default, aten.mean.dim}
COUNTS: dict[Any, Count] = {
    **dict.fromkeys((aten.sum.default, aten.sum.dim_IntList, *MEANS), _reduced),
    **dict.fromkeys((aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default), _product),
    aten.convolution.default: _convolution,
    aten.convolution_backward.default: _convolution_backward,
}
"""How many terms each result of an operation adds, from its arguments."""
