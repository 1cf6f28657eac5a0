"""PyTorch's norms as several operations each, so that every step of them can be rounded."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

aten: Any = torch.ops.aten
Normalized = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""The output, the mean, and one over the deviation."""


def _moments(input: torch.Tensor, axes: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance in one pass over the input, as Flax computes them by default; the axes stay, of size one.

    It is right, and less exact than two passes where the mean is large compared with the deviation.
    """
    mean = input.mean(axes, keepdim=True)
    return mean, ((input * input).mean(axes, keepdim=True) - mean * mean).clamp(min=0)


def _scaled(output: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None) -> torch.Tensor:
    output = output if weight is None else output * weight
    return output if bias is None else output + bias


def _layer_norm(
    input: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
) -> Normalized:
    mean, variance = _moments(input, tuple(range(-len(normalized_shape), 0)))
    scale = (variance + eps).rsqrt()
    return _scaled((input - mean) * scale, weight, bias), mean, scale


def _group_norm(
    input: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    batch: int,
    channels: int,
    positions: int,
    groups: int,
    eps: float,
) -> Normalized:
    grouped = input.reshape(batch, groups, -1)
    mean, variance = _moments(grouped, (-1,))
    scale = (variance + eps).rsqrt()
    output = ((grouped - mean) * scale).reshape(batch, channels, positions)
    weight, bias = (each if each is None else each[:, None] for each in (weight, bias))
    return _scaled(output, weight, bias).reshape(input.shape), mean[..., 0], scale[..., 0]


def _batch_norm(
    input: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Normalized:
    """The norm of each channel; in training it moves the running statistics."""
    shape = (1, -1, *(1,) * (input.ndim - 2))
    if training or running_mean is None or running_var is None:
        mean, variance = _moments(input, tuple(axis for axis in range(input.ndim) if axis != 1))
        count = input.numel() // input.shape[1]
        for running, current in ((running_mean, mean), (running_var, variance * (count / max(count - 1, 1)))):
            if running is not None:
                running.copy_(running * (1 - momentum) + current.flatten() * momentum)
    else:
        mean, variance = running_mean.reshape(shape), running_var.reshape(shape)
    scale = (variance + eps).rsqrt()
    weight, bias = (each if each is None else each.reshape(shape) for each in (weight, bias))
    return _scaled((input - mean) * scale, weight, bias), mean.flatten(), scale.flatten()


NORMS: dict[Any, Callable[..., Normalized]] = {
    aten.native_layer_norm.default: _layer_norm,
    aten.native_group_norm.default: _group_norm,
    aten.native_batch_norm.default: _batch_norm,
}
