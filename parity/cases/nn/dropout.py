"""Cases of the dropouts.

The two frameworks draw different random numbers, and so ours get PyTorch's masks: what is compared is everything else.
That each element is dropped with the right probability is a matter of statistics, and of the tests.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch
import torch.nn.functional as F
from flax import nnx

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.references.masks import TorchFunction, masks_of, seeded
from parity.subjects.layer import LayerCase
from parity.subjects.loss import LossCase

KEY = jax.random.key(0)


def function_case(
    ours: Callable[..., jax.Array],
    reference: TorchFunction,
    p: float,
    defects: dict[str, Callable],
    shape: tuple[int, ...] = (4, 6, 5),
    **options: Any,
) -> Case:
    """A function in training against its counterpart in `torch.nn.functional`."""

    def with_masks(function: Callable[..., jax.Array]) -> Callable[[jax.Array], jax.Array]:
        def call(input: jax.Array) -> jax.Array:
            with masks_of(reference, p):
                return function(input, p, training=True, key=KEY, **options)

        return call

    return LossCase(
        component=f"nn.{ours.__name__}",
        configuration=f"{reference.__name__}, p={p}",
        ours=with_masks(ours),
        reference=lambda input: seeded(reference, input, p, training=True),
        inputs=[(x,) for x in normal(shape)],
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
    layer: type[Any],
    module: Callable,
    reference: TorchFunction,
    p: float,
    defects: dict[str, type[nnx.Module]],
    shape: tuple[int, ...] = (4, 6, 5),
    **options: Any,
) -> Case:
    """A layer in training and in evaluation."""

    def with_masks(layer: type[Any]) -> Callable[[nnx.Rngs], nnx.Module]:
        return lambda rngs: WithMasks(layer(p, **options, rngs=rngs), reference, p)

    return LayerCase(
        component=f"nn.{layer.__name__}",
        configuration=f"{module.__name__}, p={p}",
        ours=with_masks(layer),
        reference=lambda: SeededModule(module(p)),
        inputs=normal(shape),
        defects={bug: with_masks(wrong) for bug, wrong in defects.items()},
    )


def unscaled(input, p, training, *, key):
    return nn.dropout(input, p, training, key=key) * (1 - p)


def scaled_by_drop_rate(input, p, training, *, key):
    return nn.dropout(input, p, training, key=key) * ((1 - p) / p)


def unmasked_gradient(input, p, training, *, key):
    return input / (1 - p) + jax.lax.stop_gradient(nn.dropout(input, p, training, key=key) - input / (1 - p))


def along_other_axis(function):
    def call(input, p, training, *, key, axis):
        return function(jnp.swapaxes(input, 1, 2), p, training, key=key, axis=axis).swapaxes(1, 2)

    return call


def zero_instead_of_saturation(function):
    def call(input, p, training, *, key, **options):
        kept = function(input, p, training, key=key, **options)
        ones = function(jnp.full_like(input, 1e6), p, training, key=key, **options)
        return jnp.where(ones > 1e3, kept, 0)

    return call


def unscaled_saturation(input, p, training, *, key):
    kept = nn.alpha_dropout(jnp.full_like(input, 1e6), p, training, key=key) > 1e3
    return jnp.where(kept, input, -1.7580993408473766)


class DropsInEvaluation(nn.Dropout):
    def __call__(self, input):
        return super().__call__(input, deterministic=False)


class ScalesInEvaluation(nn.Dropout):
    """The dropout of the paper: unscaled in training, scaled in evaluation."""

    def __call__(self, input):
        return super().__call__(input) * (1 - self.p if self.deterministic else 1)


class DropsFeaturesInEvaluation(nn.FeatureDropout):
    def __call__(self, input):
        return super().__call__(input, deterministic=False)


class SaturatesInEvaluation(nn.AlphaDropout):
    def __call__(self, input):
        return super().__call__(input, deterministic=False)


class SaturatesFeaturesInEvaluation(nn.FeatureAlphaDropout):
    def __call__(self, input):
        return super().__call__(input, deterministic=False)


DROPOUT = [
    *(
        function_case(
            nn.dropout,
            F.dropout,
            p,
            {"not scaled": unscaled, "scaled by 1/p": scaled_by_drop_rate, "gradient not masked": unmasked_gradient},
        )
        for p in (0.2, 0.7)
    ),
    layer_case(
        nn.Dropout,
        torch.nn.Dropout,
        F.dropout,
        0.3,
        {"drops in evaluation": DropsInEvaluation, "scales in evaluation": ScalesInEvaluation},
    ),
]

# In PyTorch's layout, because the mask comes in that layout.
FEATURE_DROPOUT = [
    *(
        function_case(
            nn.feature_dropout,
            reference,
            0.4,
            {"positions instead of channels": along_other_axis(nn.feature_dropout)},
            shape,
            axis=1,
        )
        for reference, shape in ((F.dropout1d, (6, 5, 5)), (F.dropout2d, (6, 4, 4, 3)), (F.dropout3d, (6, 2, 2, 3, 2)))
    ),
    layer_case(
        nn.FeatureDropout,
        torch.nn.Dropout2d,
        F.dropout2d,
        0.3,
        {"drops in evaluation": DropsFeaturesInEvaluation},
        (6, 4, 3, 2),
        axis=1,
    ),
]

ALPHA_DROPOUT = [
    *(
        function_case(
            nn.alpha_dropout,
            F.alpha_dropout,
            p,
            {
                "zero instead of the saturation": zero_instead_of_saturation(nn.alpha_dropout),
                "mean and variance not restored": unscaled_saturation,
                "ordinary dropout": nn.dropout,
            },
        )
        for p in (0.2, 0.7)
    ),
    function_case(
        nn.feature_alpha_dropout,
        F.feature_alpha_dropout,
        0.4,
        {
            "zero instead of the saturation": zero_instead_of_saturation(nn.feature_alpha_dropout),
            "positions instead of channels": along_other_axis(nn.feature_alpha_dropout),
        },
        (6, 5, 5),
        axis=1,
    ),
    layer_case(
        nn.AlphaDropout,
        torch.nn.AlphaDropout,
        F.alpha_dropout,
        0.3,
        {"drops in evaluation": SaturatesInEvaluation, "ordinary dropout": nn.Dropout},
    ),
    layer_case(
        nn.FeatureAlphaDropout,
        torch.nn.FeatureAlphaDropout,
        F.feature_alpha_dropout,
        0.3,
        {"drops in evaluation": SaturatesFeaturesInEvaluation, "zero": nn.FeatureDropout},
        (6, 5, 3),
        axis=1,
    ),
]

CASES: list[Case] = [*DROPOUT, *FEATURE_DROPOUT, *ALPHA_DROPOUT]
