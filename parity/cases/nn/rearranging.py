"""Cases of layers that only move elements: pixel and channel shuffles, flatten and unflatten."""

from collections.abc import Callable

import jax.numpy as jnp
import torch
import torch.nn.functional as F

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.subjects.layer import channels_last
from parity.subjects.loss import LossCase

IMAGES = normal((2, 8, 4, 6), [(0.0, 1.0)])


def case(component: str, ours: Callable, reference: Callable, defects: dict[str, Callable]) -> Case:
    """Ours has the channels last."""

    def from_channels_last(x: torch.Tensor) -> torch.Tensor:
        y = reference(x.movedim(-1, 1))
        return y.movedim(1, -1) if y.ndim > 2 else y

    return LossCase(
        component=component,
        ours=ours,
        reference=from_channels_last,
        inputs=[(channels_last(image),) for image in IMAGES],
        defects=defects,
    )


def channels_fastest(x):
    """Depth to space as other libraries have it."""
    n, h, w, c = x.shape
    return x.reshape(n, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, c // 4)


CASES: list[Case] = [
    case(
        "nn.pixel_shuffle",
        lambda x: nn.pixel_shuffle(x, 2),
        lambda x: F.pixel_shuffle(x, 2),
        {"channels fastest": channels_fastest},
    ),
    case(
        "nn.pixel_unshuffle",
        lambda x: nn.pixel_unshuffle(x, 2),
        lambda x: F.pixel_unshuffle(x, 2),
        {"last axis of positions": lambda x: jnp.flip(nn.pixel_unshuffle(x, 2), -1)},
    ),
    case(
        "nn.channel_shuffle",
        lambda x: nn.channel_shuffle(x, 4),
        lambda x: F.channel_shuffle(x, 4),
        {"the inverse": lambda x: nn.channel_shuffle(x, 2)},
    ),
    case("nn.flatten", nn.flatten, torch.nn.Flatten(), {"channels fastest": lambda x: x.reshape(len(x), -1)}),
    case(
        "nn.unflatten",
        lambda x: nn.unflatten(x, 1, (2, -1)),
        torch.nn.Unflatten(1, (2, 4)),
        {"channels fastest": lambda x: jnp.swapaxes(nn.unflatten(x, 1, (4, -1)), 1, -1)},
    ),
]
