"""Cases of `nn.AdaptiveLogSoftmaxWithLoss`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.subjects.layer import LayerCase

FEATURES, CLASSES, CUTOFFS = 64, 30, [4, 9, 20]
TARGETS = np.array([0, 3, 4, 8, 9, 19, 20, 29, 1, 25, 12, 5])
INPUTS = normal((len(TARGETS), FEATURES), [(0.0, 0.1), (0.0, 0.3)])
"""Scores of a few units. In the hundreds they would only show how they were rounded."""


class OurAnswers(nnx.Module):
    """Outputs, loss and log-probabilities side by side."""

    def __init__(self, layer: nn.AdaptiveLogSoftmaxWithLoss):
        self.layer = layer

    def __call__(self, input: jax.Array) -> jax.Array:
        output, loss = self.layer(input, jnp.asarray(TARGETS, jnp.int32))
        return jnp.concatenate([output, loss[None], self.layer.log_prob(input).ravel()])


class TorchAnswers(torch.nn.Module):
    """The same of PyTorch's layer."""

    def __init__(self, **options: Any):
        super().__init__()
        self.layer = torch.nn.AdaptiveLogSoftmaxWithLoss(FEATURES, CLASSES, CUTOFFS, **options)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        output, loss = self.layer(input, torch.tensor(TARGETS))
        return torch.cat([output, loss[None], self.layer.log_prob(input).ravel()])


class SumsTheLoss(nn.AdaptiveLogSoftmaxWithLoss):
    def __call__(self, input, target):
        output, loss = super().__call__(input, target)
        return output, loss * len(target)


class WithoutTheCluster(nn.AdaptiveLogSoftmaxWithLoss):
    """The log-probability within the cluster alone."""

    def __call__(self, input, target):
        output, loss = super().__call__(input, target)
        head = jax.nn.log_softmax(self.head(input))
        cluster = jnp.searchsorted(jnp.asarray(self.cutoffs), target, side="right")
        reached = head[jnp.arange(len(target)), jnp.maximum(self.cutoffs[0] + cluster - 1, 0)]
        return jnp.where(cluster > 0, output - reached, output), loss


class ClustersReversed(nn.AdaptiveLogSoftmaxWithLoss):
    """The head's entries for the clusters in reverse order."""

    def log_prob(self, input):
        head = self.head.kernel[...]
        self.head.kernel[...] = jnp.concatenate([head[:, : CUTOFFS[0]], head[:, : CUTOFFS[0] - 1 : -1]], axis=1)
        answer = super().log_prob(input)
        self.head.kernel[...] = head
        return answer


def case(configuration: str, defects: dict[str, type[nn.AdaptiveLogSoftmaxWithLoss]], **options: Any) -> Case:
    def answers(layer: type[nn.AdaptiveLogSoftmaxWithLoss]) -> Callable[[nnx.Rngs], nnx.Module]:
        return lambda rngs: OurAnswers(layer(FEATURES, CLASSES, CUTOFFS, **options, rngs=rngs))

    return LayerCase(
        component="nn.AdaptiveLogSoftmaxWithLoss",
        configuration=configuration,
        ours=answers(nn.AdaptiveLogSoftmaxWithLoss),
        reference=lambda: TorchAnswers(**options),
        inputs=INPUTS,
        centre=0.0,  # Around 1 the scores of an example have a part in common, whose rounding is most of the error.
        defects={bug: answers(layer) for bug, layer in defects.items()},
    )


CASES: list[Case] = [
    case(
        "defaults",
        {
            "loss not averaged": SumsTheLoss,
            "cluster not reached through the head": WithoutTheCluster,
            "clusters reversed": ClustersReversed,
        },
    ),
    case("div_value=2, head_bias", {"loss not averaged": SumsTheLoss}, div_value=2.0, head_bias=True),
]
