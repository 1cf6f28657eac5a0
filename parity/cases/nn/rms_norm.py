"""Cases of `nn.RMSNorm` and `nn.rms_norm`."""

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

LARGE = ((0.0, 1.0), (3.0, 2.0), (0.0, 100.0))
"""Deviations beside which the default epsilon of float32 is nothing: it is another one in float64, the truth."""
SMALL = ((0.0, 1.0), (0.0, 1e-2), (0.0, 1e-3))
"""Deviations down to where an explicit epsilon decides."""


class EpsOutsideRoot(nn.RMSNorm):
    def __call__(self, input):
        root = jnp.sqrt(jnp.mean(jnp.square(input), -1, keepdims=True))
        return input / (root + self.eps) * self.weight[...]


class FlaxRMSNorm(nn.RMSNorm):
    """Flax's own layer, with its own epsilon."""

    def __call__(self, input):
        layer = nnx.RMSNorm(self.normalized_shape[0], rngs=nnx.Rngs(0))
        layer.scale = self.weight
        return layer(input)


class SumOfSquares(nn.RMSNorm):
    def __call__(self, input):
        return super().__call__(input) / jnp.sqrt(input.shape[-1])


def unchanged(variables: Variables) -> Variables:
    """The weight keeps its name and axes: although it has two axes, it is not a kernel."""
    return variables


def case(configuration: str, ours: Callable, reference: Callable, defects: dict[str, Callable], moments=LARGE) -> Case:
    return LayerCase(
        component="nn.RMSNorm",
        configuration=configuration,
        ours=lambda _: ours(),
        reference=reference,
        inputs=normal((32, 3, 16), moments),
        defects={bug: lambda _, layer=layer: layer() for bug, layer in defects.items()},
        variables=unchanged,
    )


CASES: list[Case] = [
    case(
        "defaults",
        partial(nn.RMSNorm, 16),
        partial(torch.nn.RMSNorm, 16),
        {
            "eps=1e-5": partial(nn.RMSNorm, 16, 1e-5),
            "sum instead of mean": partial(SumOfSquares, 16),
            "flax.nnx.RMSNorm": partial(FlaxRMSNorm, 16),
        },
    ),
    case(
        "eps=1e-6",
        partial(nn.RMSNorm, 16, 1e-6),
        partial(torch.nn.RMSNorm, 16, 1e-6),
        {"default eps": partial(nn.RMSNorm, 16), "eps outside the root": partial(EpsOutsideRoot, 16, 1e-6)},
        SMALL,
    ),
    case(
        "two axes, eps=1e-4, not affine",
        partial(nn.RMSNorm, (3, 16), 1e-4, False),
        partial(torch.nn.RMSNorm, (3, 16), 1e-4, False),
        {"one axis": partial(nn.RMSNorm, 16, 1e-4, False), "default eps": partial(nn.RMSNorm, (3, 16), None, False)},
        SMALL,
    ),
    LossCase(
        component="nn.rms_norm",
        configuration="weight of two axes",
        ours=lambda x, weight: nn.rms_norm(x, (3, 16), weight),
        reference=lambda x, weight: F.rms_norm(x, (3, 16), weight),
        inputs=[(x, *normal((3, 16))[:1]) for x in normal((8, 3, 16), LARGE)],
        wrt=(0, 1),
        defects={"mean taken off": lambda x, weight: nn.layer_norm(x, (3, 16), weight, eps=0.0)},
    ),
]
