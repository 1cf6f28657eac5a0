"""Cases of `nn.InstanceNorm` and `nn.instance_norm`."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import torch
import torch.nn.functional as F

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.references.older_torch import without_bias
from parity.subjects.layer import LayerCase, channels_last, channels_second
from parity.subjects.loss import LossCase

CHANNELS = 16


class OverTheBatch(nn.InstanceNorm):
    """Statistics over the examples, too: batch norm."""

    def __call__(self, input):
        return nn.batch_norm(input, None, None, training=True)[0]


class OverTheChannels(nn.InstanceNorm):
    """Statistics over the channels, too: layer norm."""

    def __call__(self, input):
        return nn.layer_norm(input, input.shape[1:])


class TracksBiasedVariance(nn.InstanceNorm):
    def __call__(self, input):
        before, positions = self.running_var[...], input.shape[1]
        output = super().__call__(input)
        if not self.use_running_average:
            step = self.running_var[...] - 0.9 * before
            self.running_var[...] = 0.9 * before + step * (positions - 1) / positions
        return output


class InputInEvaluation(nn.InstanceNorm):
    def __call__(self, input):
        output = super().__call__(input)
        return output if not self.use_running_average else nn.instance_norm(input)[0]


def case(configuration: str, ours: Callable, reference: Callable, defects: dict[str, Callable], **options) -> Case:
    return LayerCase(
        component="nn.InstanceNorm",
        configuration=configuration,
        ours=lambda _: ours(CHANNELS),
        reference=lambda: reference(CHANNELS),
        defects={bug: lambda _, layer=layer: layer(CHANNELS) for bug, layer in defects.items()},
        **options,
    )


def torch_functional(input, mean, variance, weight, bias, *, from_input):
    """Outputs and new statistics side by side."""
    mean, variance = mean.clone(), variance.clone()
    output = F.instance_norm(input, mean, variance, weight, bias, from_input, momentum=0.3, eps=1e-3)
    return torch.cat([output.ravel(), mean, variance])


def functional(input, mean, variance, weight, bias, *, from_input, momentum=0.3, eps=1e-3):
    output, mean, variance = nn.instance_norm(input, mean, variance, weight, bias, from_input, momentum, eps, axis=1)
    return jnp.concatenate([output.ravel(), mean, variance])


VECTORS = tuple(1 + abs(normal((4, CHANNELS))[0]))
tracking = partial(nn.InstanceNorm, affine=True, track_running_stats=True)

CASES: list[Case] = [
    case(
        "defaults",
        nn.InstanceNorm,
        torch.nn.InstanceNorm2d,
        {
            "statistics over the batch": OverTheBatch,
            "statistics over the channels": OverTheChannels,
            "eps=1e-6": partial(nn.InstanceNorm, eps=1e-6),
        },
        inputs=normal((4, 5, 3, CHANNELS)),
        to_torch=channels_second,
        from_torch=channels_last,
    ),
    case(
        "affine, running statistics",
        tracking,
        partial(torch.nn.InstanceNorm1d, affine=True, track_running_stats=True),
        {
            "running variance biased": partial(TracksBiasedVariance, affine=True, track_running_stats=True),
            "momentum is the share of the old": partial(tracking, momentum=0.9),
            "the input in evaluation": partial(InputInEvaluation, affine=True, track_running_stats=True),
        },
        inputs=normal((4, 16, CHANNELS)),
        to_torch=channels_second,
        from_torch=channels_last,
    ),
    case(
        "axis=1, momentum=None, no bias",
        partial(tracking, axis=1, momentum=None, bias=False),
        without_bias(partial(torch.nn.InstanceNorm1d, affine=True, track_running_stats=True, momentum=None)),
        {"momentum 0.1": partial(tracking, axis=1, bias=False), "last axis": partial(tracking, bias=False)},
        inputs=normal((4, CHANNELS, CHANNELS)),
    ),
    *(
        LossCase(
            component="nn.instance_norm",
            configuration=f"use_input_stats={from_input}",
            ours=lambda *arrays, from_input=from_input: functional(*arrays, from_input=from_input),
            reference=lambda *tensors, from_input=from_input: torch_functional(*tensors, from_input=from_input),
            inputs=[(x, *VECTORS) for x in normal((4, CHANNELS, 6))],
            wrt=(0, 3, 4),
            defects={
                "the other statistics": lambda *arrays, from_input=from_input: functional(
                    *arrays, from_input=not from_input
                ),
                "eps=1e-5": lambda *arrays, from_input=from_input: functional(*arrays, from_input=from_input, eps=1e-5),
            },
        )
        for from_input in (True, False)
    ),
]
