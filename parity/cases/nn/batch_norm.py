"""Cases of `nn.BatchNorm` and `nn.batch_norm`."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import torch
import torch.nn.functional as F
from flax import nnx
from jax import lax

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import MOMENTS, normal
from parity.references.older_torch import without_bias
from parity.subjects.layer import LayerCase, channels_last, channels_second
from parity.subjects.loss import LossCase

CHANNELS = 16


class Textbook(nn.BatchNorm):
    """Batch norm as one writes it down; each defect gets one line of it wrong."""

    normalizing_ddof = 0
    tracked_ddof = 1

    def mean(self, input):
        return jnp.mean(input, 0)

    def variance(self, input, ddof):
        return jnp.var(input, 0, ddof=ddof)

    def root(self, variance):
        return jnp.sqrt(variance + self.eps)

    def __call__(self, input):
        mean, variance = self.running_mean[...], self.running_var[...]
        if not self.use_running_average:
            self.running_mean[...] = 0.9 * mean + 0.1 * self.mean(input)
            self.running_var[...] = 0.9 * variance + 0.1 * self.variance(input, self.tracked_ddof)
            self.num_batches_tracked[...] += 1
            mean, variance = self.mean(input), self.variance(input, self.normalizing_ddof)
        return (input - mean) / self.root(variance) * self.weight[...] + self.bias[...]


class TracksBiasedVariance(Textbook):
    tracked_ddof = 0


class NormalizesByUnbiasedVariance(Textbook):
    normalizing_ddof = 1


class AddsEpsToRoot(Textbook):
    def root(self, variance):
        return jnp.sqrt(variance) + self.eps


class DifferenceOfSquares(Textbook):
    def variance(self, input, ddof):
        variance = jnp.mean(jnp.square(input), 0) - jnp.square(jnp.mean(input, 0))
        return variance * (len(input) / (len(input) - ddof))


class ConstantStatistics(Textbook):
    def mean(self, input):
        return lax.stop_gradient(super().mean(input))

    def variance(self, input, ddof):
        return lax.stop_gradient(super().variance(input, ddof))


class AlwaysByBatch(nn.BatchNorm):
    def __call__(self, input):
        output = super().__call__(input)
        return output if not self.use_running_average else nn.batch_norm(input, None, None, training=True)[0]


class TracksInEvaluation(nn.BatchNorm):
    def __call__(self, input):
        return super().__call__(input, use_running_average=False)


class StatisticsByPosition(nn.BatchNorm):
    def __call__(self, input):
        return jnp.stack([super(StatisticsByPosition, self).__call__(part) for part in jnp.moveaxis(input, 1, 0)], 1)


class IdentityInEvaluation(nn.BatchNorm):
    def __call__(self, input):
        return input if self.use_running_average else super().__call__(input)


class FlaxBatchNorm(nn.BatchNorm):
    """Flax's own layer, with PyTorch's momentum and epsilon."""

    def __call__(self, input):
        layer = nnx.BatchNorm(self.num_features, momentum=0.9, epsilon=1e-5, rngs=nnx.Rngs(0))
        layer.use_running_average = self.use_running_average
        layer.mean, layer.var, layer.scale, layer.bias = self.running_mean, self.running_var, self.weight, self.bias
        return layer(input)


def case(configuration: str, ours: Callable, reference: Callable, defects: dict[str, Callable], **options) -> Case:
    options.setdefault("inputs", normal((64, CHANNELS)))
    return LayerCase(
        component="nn.BatchNorm",
        configuration=configuration,
        ours=lambda _: ours(CHANNELS),
        reference=lambda: reference(CHANNELS),
        defects={bug: lambda _, layer=layer: layer(CHANNELS) for bug, layer in defects.items()},
        **options,
    )


def torch_functional(input, mean, variance, weight, bias, training):
    """Outputs and new statistics side by side."""
    mean, variance = mean.clone(), variance.clone()
    output = F.batch_norm(input, mean, variance, weight, bias, training, momentum=0.3, eps=1e-3)
    return torch.cat([output, mean[None], variance[None]])


def functional(input, mean, variance, weight, bias, training, momentum=0.3, eps=1e-3):
    output, mean, variance = nn.batch_norm(input, mean, variance, weight, bias, training, momentum, eps)
    return jnp.concatenate([output, mean[None], variance[None]])


VECTORS = tuple(1 + abs(normal((4, CHANNELS))[0]))

CASES: list[Case] = [
    case(
        "defaults",
        nn.BatchNorm,
        torch.nn.BatchNorm1d,
        {
            "running variance biased": TracksBiasedVariance,
            "normalizes by the unbiased variance": NormalizesByUnbiasedVariance,
            "eps outside the root": AddsEpsToRoot,
            "momentum is the share of the old": partial(nn.BatchNorm, momentum=0.9),
            "eps=1e-6": partial(nn.BatchNorm, eps=1e-6),
            "no gradient through the statistics": ConstantStatistics,
            "evaluation by the batch": AlwaysByBatch,
            "evaluation changes the statistics": TracksInEvaluation,
            "flax.nnx.BatchNorm": FlaxBatchNorm,
        },
    ),
    case(
        "mean 1000, deviation 2",
        nn.BatchNorm,
        torch.nn.BatchNorm1d,
        {"E[x²] - E[x]²": DifferenceOfSquares, "flax.nnx.BatchNorm": FlaxBatchNorm},
        inputs=normal((32, CHANNELS), [(1000.0, 2.0)] * 2),
    ),
    case(
        "images",
        nn.BatchNorm,
        torch.nn.BatchNorm2d,
        {"statistics by position": StatisticsByPosition},
        inputs=normal((8, 4, 4, CHANNELS)),
        to_torch=channels_second,
        from_torch=channels_last,
    ),
    case(
        "axis=1",
        partial(nn.BatchNorm, axis=1),
        torch.nn.BatchNorm2d,
        {"last axis": nn.BatchNorm},
        inputs=normal((8, CHANNELS, 2, CHANNELS), MOMENTS[1:]),
    ),
    case(
        "momentum=None",
        partial(nn.BatchNorm, momentum=None),
        partial(torch.nn.BatchNorm1d, momentum=None),
        {"momentum 0.1": nn.BatchNorm, "always the last batch": partial(nn.BatchNorm, momentum=1.0)},
    ),
    case(
        "momentum=0.3, eps=1e-3, no bias",
        partial(nn.BatchNorm, momentum=0.3, eps=1e-3, bias=False),
        without_bias(partial(torch.nn.BatchNorm1d, momentum=0.3, eps=1e-3)),
        {"eps=1e-5": partial(nn.BatchNorm, momentum=0.3, bias=False)},
    ),
    case(
        "affine=False, track_running_stats=False",
        partial(nn.BatchNorm, affine=False, track_running_stats=False),
        partial(torch.nn.BatchNorm1d, affine=False, track_running_stats=False),
        {"the identity in evaluation": partial(IdentityInEvaluation, affine=False, track_running_stats=False)},
    ),
    LossCase(
        component="nn.batch_norm",
        configuration="training",
        ours=lambda *arrays: functional(*arrays, training=True),
        reference=lambda *tensors: torch_functional(*tensors, training=True),
        inputs=[(x, *VECTORS) for x in normal((64, CHANNELS))],
        wrt=(0, 3, 4),
        defects={
            "momentum is the share of the old": lambda *arrays: functional(*arrays, training=True, momentum=0.7),
            "evaluation": lambda *arrays: functional(*arrays, training=False),
        },
    ),
    LossCase(
        component="nn.batch_norm",
        configuration="evaluation",
        ours=lambda *arrays: functional(*arrays, training=False),
        reference=lambda *tensors: torch_functional(*tensors, training=False),
        inputs=[(x, *VECTORS) for x in normal((64, CHANNELS))],
        wrt=(0, 3, 4),
        defects={
            "training": lambda *arrays: functional(*arrays, training=True),
            "eps=1e-5": lambda *arrays: functional(*arrays, training=False, eps=1e-5),
        },
    ),
]
