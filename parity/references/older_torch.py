"""Functions that are new in PyTorch 2.13, made of the functions of older releases where one of these runs."""

from collections.abc import Callable

import torch
import torch.nn.functional as F


def _linear_then_cross_entropy(
    input: torch.Tensor,
    linear_weight: torch.Tensor,
    target: torch.Tensor,
    *,
    linear_bias: torch.Tensor | None = None,
    **options,
) -> torch.Tensor:
    """Equal by PyTorch's documentation; `linear_weight` has the shape (C, d₁, ..., features)."""
    bias = None if linear_bias is None else linear_bias.flatten()
    logits = F.linear(input, linear_weight.flatten(0, -2), bias).unflatten(-1, linear_weight.shape[:-1])
    return F.cross_entropy(logits, target, **options)


linear_cross_entropy = getattr(F, "linear_cross_entropy", _linear_then_cross_entropy)


def without_bias(module: Callable[..., torch.nn.Module]) -> Callable[..., torch.nn.Module]:
    """`module` with PyTorch 2.13's `bias=False`."""

    def make(*sizes: int) -> torch.nn.Module:
        made = module(*sizes)
        made.register_parameter("bias", None)
        return made

    return make
