"""Cases of `nn.LayerNorm` and `nn.layer_norm`."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import torch
import torch.nn.functional as F
from flax import nnx

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.subjects.layer import LayerCase, Variables
from parity.subjects.loss import LossCase


class UnbiasedVariance(nn.LayerNorm):
    def __call__(self, input):
        centred = input - jnp.mean(input, -1, keepdims=True)
        variance = jnp.var(input, -1, ddof=1, keepdims=True)
        return centred / jnp.sqrt(variance + self.eps) * self.weight[...] + self.bias[...]


class EpsOutsideRoot(nn.LayerNorm):
    def __call__(self, input):
        centred = input - jnp.mean(input, -1, keepdims=True)
        return centred / (jnp.std(input, -1, keepdims=True) + self.eps) * self.weight[...] + self.bias[...]


class FlaxLayerNorm(nn.LayerNorm):
    """Flax's own layer, with PyTorch's epsilon."""

    def __call__(self, input):
        layer = nnx.LayerNorm(self.normalized_shape[0], epsilon=self.eps, rngs=nnx.Rngs(0))
        layer.scale, layer.bias = self.weight, self.bias
        return layer(input)


class NoMean(nn.LayerNorm):
    def __call__(self, input):
        root = jnp.sqrt(jnp.mean(jnp.square(input), -1, keepdims=True) + self.eps)
        return input / root * self.weight[...] + self.bias[...]


class LastAxisOnly(nn.LayerNorm):
    def __call__(self, input):
        return nn.layer_norm(input, self.normalized_shape[-1:], eps=self.eps) * self.weight[...]


def unchanged(variables: Variables) -> Variables:
    """The weight keeps its name and axes: although it has two axes, it is not a kernel."""
    return variables


def case(configuration: str, ours: Callable, reference: Callable, defects: dict[str, Callable], **options) -> Case:
    options.setdefault("inputs", normal((8, 3, 16)))
    return LayerCase(
        component="nn.LayerNorm",
        configuration=configuration,
        ours=lambda _: ours(),
        reference=reference,
        defects={bug: lambda _, layer=layer: layer() for bug, layer in defects.items()},
        variables=unchanged,
        **options,
    )


CASES: list[Case] = [
    case(
        "defaults",
        partial(nn.LayerNorm, 16),
        partial(torch.nn.LayerNorm, 16),
        {
            "unbiased variance": partial(UnbiasedVariance, 16),
            "eps outside the root": partial(EpsOutsideRoot, 16),
            "mean not taken off": partial(NoMean, 16),
            "eps=1e-6": partial(nn.LayerNorm, 16, eps=1e-6),
            "no bias": partial(nn.LayerNorm, 16, bias=False),
        },
    ),
    case(
        "mean 1000, deviation 2",
        partial(nn.LayerNorm, 32),
        partial(torch.nn.LayerNorm, 32),
        {"flax.nnx.LayerNorm": partial(FlaxLayerNorm, 32)},
        inputs=normal((4, 32), [(1000.0, 2.0)]),
    ),
    case(
        "two axes, no bias",
        partial(nn.LayerNorm, (3, 16), bias=False),
        partial(torch.nn.LayerNorm, (3, 16), bias=False),
        {"one axis": partial(LastAxisOnly, (3, 16), bias=False)},
    ),
    case(
        "eps=1e-3, not affine",
        partial(nn.LayerNorm, 16, 1e-3, False),
        partial(torch.nn.LayerNorm, 16, 1e-3, False),
        {"eps=1e-5": partial(nn.LayerNorm, 16, elementwise_affine=False)},
    ),
    LossCase(
        component="nn.layer_norm",
        configuration="weight and bias, eps=1e-4",
        ours=lambda x, weight, bias: nn.layer_norm(x, 16, weight, bias, 1e-4),
        reference=lambda x, weight, bias: F.layer_norm(x, (16,), weight, bias, 1e-4),
        inputs=[(x, *normal((16,))[:2]) for x in normal((8, 3, 16))],
        wrt=(0, 1, 2),
        defects={
            "eps=1e-5": lambda x, weight, bias: nn.layer_norm(x, 16, weight, bias),
            "weight after the bias": lambda x, weight, bias: (nn.layer_norm(x, 16, eps=1e-4) + bias) * weight,
        },
    ),
]
