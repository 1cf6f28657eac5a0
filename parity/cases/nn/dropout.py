"""Cases of the dropouts.

The two frameworks draw different random numbers, and so ours get PyTorch's masks: what is compared is everything else.
That each element is dropped with the right probability is a matter of statistics, and of the tests.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.kinds.layer import LayerCase
from parity.kinds.loss import LossCase

TorchFunction = Callable[..., torch.Tensor]
KEY = jax.random.key(0)


def seeded(reference: TorchFunction, *arguments: Any, **options: Any) -> torch.Tensor:
    """PyTorch's function with the same random numbers at each call."""
    torch.manual_seed(5)
    return reference(*arguments, **options)


@contextmanager
def masks_of(reference: TorchFunction, p: float) -> Iterator[None]:
    """Inside, JAX draws the random words that lead to the mask of `reference`."""

    def words(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        dropped = seeded(reference, torch.ones(shape), p, training=True) < 0.9
        return jnp.asarray(np.where(dropped.numpy(), 0, np.iinfo(np.uint32).max), dtype)

    with mock.patch.object(jax.random, "bits", words):
        yield


def function_case(
    name: str, ours: Callable[..., jax.Array], reference: TorchFunction, p: float, defects: dict[str, Callable]
) -> Case:
    """A function in training against its counterpart in `torch.nn.functional`."""

    def with_masks(function: Callable[..., jax.Array]) -> Callable[[jax.Array], jax.Array]:
        def call(input: jax.Array) -> jax.Array:
            with masks_of(reference, p):
                return function(input, p, key=KEY)

        return call

    return LossCase(
        component=f"nn.{name}",
        configuration=f"p={p}",
        ours=with_masks(ours),
        reference=lambda input: seeded(reference, input, p, training=True),
        inputs=[(x,) for x in normal((4, 6, 5))],
        defects={bug: with_masks(function) for bug, function in defects.items()},
    )


class SeededModule(torch.nn.Module):
    """A PyTorch dropout that draws the same mask at each call."""

    def __init__(self, module: torch.nn.Module):
        super().__init__()
        self.module = module

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return seeded(self.module, input)


class WithMasks(nnx.Module):
    """A layer of ours that draws the masks of `reference`."""

    def __init__(self, layer: nnx.Module, reference: TorchFunction, p: float):
        self.layer = layer
        self.masks = lambda: masks_of(reference, p)

    def __call__(self, input: jax.Array) -> jax.Array:
        with self.masks():
            return self.layer(input)


def layer_case(
    name: str, module: Callable, reference: TorchFunction, p: float, defects: dict[str, type[nnx.Module]]
) -> Case:
    """A layer in training and in evaluation."""

    def with_masks(layer: type[nnx.Module]) -> Callable[[nnx.Rngs], nnx.Module]:
        return lambda rngs: WithMasks(layer(p, rngs=rngs), reference, p)

    return LayerCase(
        component=f"nn.{name}",
        configuration=f"p={p}",
        ours=with_masks(getattr(nn, name)),
        reference=lambda: SeededModule(module(p)),
        inputs=normal((4, 6, 5)),
        defects={bug: with_masks(layer) for bug, layer in defects.items()},
    )


def unscaled(input, p, *, key):
    return nn.dropout(input, p, key=key) * (1 - p)


def keeps_with_p(input, p, *, key):
    return nn.dropout(input, p, key=key) * ((1 - p) / p)


def unmasked_gradient(input, p, *, key):
    return input / (1 - p) + jax.lax.stop_gradient(nn.dropout(input, p, key=key) - input / (1 - p))


class DropsInEvaluation(nn.Dropout):
    def __call__(self, input):
        return super().__call__(input, deterministic=False)


class ScalesInEvaluation(nn.Dropout):
    """The dropout of the paper: as it is in training, scaled in evaluation."""

    def __call__(self, input):
        return super().__call__(input) * (1 if not self.deterministic else 1 - self.p)


DROPOUT = [
    function_case(
        "dropout",
        nn.dropout,
        F.dropout,
        p,
        {"not scaled": unscaled, "scaled by 1/p": keeps_with_p, "gradient not masked": unmasked_gradient},
    )
    for p in (0.2, 0.7)
]

CASES: list[Case] = [
    *DROPOUT,
    layer_case(
        "Dropout",
        torch.nn.Dropout,
        F.dropout,
        0.3,
        {"drops in evaluation": DropsInEvaluation, "scales in evaluation": ScalesInEvaluation},
    ),
]
