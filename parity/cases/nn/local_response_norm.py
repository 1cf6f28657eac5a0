"""Cases of `nn.LocalResponseNorm` and `nn.local_response_norm`."""

import jax.numpy as jnp
import torch
import torch.nn.functional as F

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.subjects.layer import LayerCase, channels_last, channels_second
from parity.subjects.loss import LossCase

CHANNELS = 6


class DividesByWhatIsThere(nn.LocalResponseNorm):
    """At the first and the last channels, the mean over those that exist."""

    def __call__(self, input):
        places = jnp.arange(CHANNELS)
        first, last = places - self.size // 2, places + (self.size - 1) // 2
        there = jnp.minimum(last, CHANNELS - 1) - jnp.maximum(first, 0) + 1
        base = (input / super().__call__(input)) ** (1 / self.beta)
        return input / (self.k + (base - self.k) * self.size / there) ** self.beta


class WindowShifted(nn.LocalResponseNorm):
    """An even window that reaches further to the end than to the start."""

    def __call__(self, input):
        return super().__call__(input[..., ::-1])[..., ::-1]


class SumInsteadOfMean(nn.LocalResponseNorm):
    def __call__(self, input):
        return nn.local_response_norm(input, self.size, self.alpha * self.size, self.beta, self.k)


CASES: list[Case] = [
    LayerCase(
        component="nn.LocalResponseNorm",
        configuration="size=4, alpha=0.5",
        ours=lambda _: nn.LocalResponseNorm(4, alpha=0.5),
        reference=lambda: torch.nn.LocalResponseNorm(4, alpha=0.5),
        inputs=normal((3, 4, 2, CHANNELS)),
        to_torch=channels_second,
        from_torch=channels_last,
        defects={
            "divided by what is there": lambda _: DividesByWhatIsThere(4, alpha=0.5),
            "window shifted": lambda _: WindowShifted(4, alpha=0.5),
            "sum instead of mean": lambda _: SumInsteadOfMean(4, alpha=0.5),
            "default alpha": lambda _: nn.LocalResponseNorm(4),
        },
    ),
    LossCase(
        component="nn.local_response_norm",
        configuration="axis=1, size=3, alpha=2, beta=0.5, k=0.5",
        ours=lambda x: nn.local_response_norm(x, 3, 2.0, 0.5, 0.5, axis=1),
        reference=lambda x: F.local_response_norm(x, 3, 2.0, 0.5, 0.5),
        inputs=[(x,) for x in normal((3, CHANNELS, 5))],
        defects={
            "last axis": lambda x: nn.local_response_norm(x, 3, 2.0, 0.5, 0.5),
            "beta=0.75": lambda x: nn.local_response_norm(x, 3, 2.0, 0.75, 0.5, axis=1),
            "k=1": lambda x: nn.local_response_norm(x, 3, 2.0, 0.5, axis=1),
        },
    ),
]
