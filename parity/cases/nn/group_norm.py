"""Cases of `nn.GroupNorm` and `nn.group_norm`."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import torch
import torch.nn.functional as F
from flax import nnx

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import MOMENTS, normal
from parity.references.older_torch import without_bias
from parity.subjects.layer import LayerCase, channels_last, channels_second
from parity.subjects.loss import LossCase

GROUPS, CHANNELS = 4, 16


class InterleavedGroups(nn.GroupNorm):
    """Groups of every fourth channel."""

    def __call__(self, input):
        order = jnp.arange(CHANNELS).reshape(-1, GROUPS).T.ravel()
        output = nn.group_norm(input[..., order], GROUPS)[..., jnp.argsort(order)]
        return output * self.weight[...] + self.bias[...]


class ByPosition(nn.GroupNorm):
    """Statistics over the channels of a group, but not over the positions."""

    def __call__(self, input):
        flat = input.reshape(-1, CHANNELS)
        return nn.group_norm(flat, GROUPS, self.weight[...], self.bias[...]).reshape(input.shape)


class FlaxGroupNorm(nn.GroupNorm):
    """Flax's own layer, with PyTorch's epsilon."""

    def __call__(self, input):
        layer = nnx.GroupNorm(CHANNELS, GROUPS, epsilon=self.eps, rngs=nnx.Rngs(0))
        layer.scale, layer.bias = self.weight, self.bias
        return layer(input)


def case(configuration: str, ours: Callable, reference: Callable, defects: dict[str, Callable], **options) -> Case:
    options.setdefault("inputs", normal((4, 5, 3, CHANNELS)))
    return LayerCase(
        component="nn.GroupNorm",
        configuration=configuration,
        ours=lambda _: ours(GROUPS, CHANNELS),
        reference=lambda: reference(GROUPS, CHANNELS),
        defects={bug: lambda _, layer=layer: layer(GROUPS, CHANNELS) for bug, layer in defects.items()},
        to_torch=channels_second,
        from_torch=channels_last,
        **options,
    )


CASES: list[Case] = [
    case(
        "images",
        nn.GroupNorm,
        torch.nn.GroupNorm,
        {
            "interleaved groups": InterleavedGroups,
            "statistics by position": ByPosition,
            "eps=1e-6": partial(nn.GroupNorm, eps=1e-6),
            "one group": lambda groups, channels: nn.GroupNorm(1, channels),
        },
    ),
    case(
        "mean 1000, deviation 2",
        nn.GroupNorm,
        torch.nn.GroupNorm,
        {"flax.nnx.GroupNorm": FlaxGroupNorm},
        inputs=normal((4, 8, CHANNELS), [(1000.0, 2.0)]),
    ),
    case(
        "no positions, no bias",
        partial(nn.GroupNorm, bias=False),
        without_bias(torch.nn.GroupNorm),
        {"not affine": partial(nn.GroupNorm, affine=False)},
        inputs=normal((16, CHANNELS)),
    ),
    LossCase(
        component="nn.group_norm",
        configuration="axis=1, eps=1e-3",
        ours=lambda x, weight, bias: nn.group_norm(x, GROUPS, weight, bias, 1e-3, axis=1),
        reference=lambda x, weight, bias: F.group_norm(x, GROUPS, weight, bias, 1e-3),
        inputs=[(x, *normal((CHANNELS,), MOMENTS[:2])) for x in normal((4, CHANNELS, 8))],
        wrt=(0, 1, 2),
        defects={"eps=1e-5": lambda x, weight, bias: nn.group_norm(x, GROUPS, weight, bias, axis=1)},
    ),
]
