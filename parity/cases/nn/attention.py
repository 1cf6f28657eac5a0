"""Cases of the attention function and of multi-head attention."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.draws import generator
from parity.subjects.layer import LayerCase
from parity.subjects.loss import LossCase

BATCH, LENGTH, WIDTH, HEADS = 12, 5, 8, 2
SPREADS = [(0.0, 1.0), (0.5, 0.5)]

QUERY, OTHER_HEADS = normal((2, 4, 3, WIDTH), SPREADS)
KEY, VALUE = normal((2, 2, LENGTH, WIDTH), SPREADS)
IS_ALLOWED = generator(1).random((2, 1, 3, LENGTH)) < 0.6
IS_ALLOWED[0, 0, 0] = False  # A query that may look at no key.
BIAS = normal((4, 3, LENGTH), SPREADS)[0]


def shared(array: Any) -> Any:
    """Twice as many heads, of which each two neighbours are equal."""
    return array.repeat_interleave(2, 1) if isinstance(array, torch.Tensor) else jnp.repeat(array, 2, 1)


def heads_in_turn(query, key, value, mask):
    """Grouped queries with the shared heads one after another."""
    return nn.scaled_dot_product_attention(query, jnp.tile(key, (1, 2, 1, 1)), jnp.tile(value, (1, 2, 1, 1)), mask)


def unmasked_where_nothing_is_left(query, key, value, mask):
    mask |= ~jnp.any(mask, -1, keepdims=True)
    return nn.scaled_dot_product_attention(query, shared(key), shared(value), mask)


def causal_from_the_end(query, key, value):
    """The last query sees everything, as in the decoding of a sequence."""
    mask = jnp.tri(query.shape[-2], key.shape[-2], key.shape[-2] - query.shape[-2], dtype=bool)
    return nn.scaled_dot_product_attention(query, shared(key), shared(value), mask, scale=0.5)


FUNCTION = [
    LossCase(
        component="nn.scaled_dot_product_attention",
        configuration="booleans, grouped queries",
        ours=lambda query, key, value, mask: nn.scaled_dot_product_attention(query, key, value, mask, enable_gqa=True),
        reference=lambda query, key, value, mask: F.scaled_dot_product_attention(
            query, key, value, mask, enable_gqa=True
        ),
        inputs=[(QUERY, KEY, VALUE, IS_ALLOWED)],
        wrt=(0, 1, 2),
        defects={
            "no mask": lambda query, key, value, mask: nn.scaled_dot_product_attention(
                query, key, value, enable_gqa=True
            ),
            "mask the other way round": lambda query, key, value, mask: nn.scaled_dot_product_attention(
                query, key, value, ~mask, enable_gqa=True
            ),
            "heads in turn": heads_in_turn,
            "where nothing is left, everything": unmasked_where_nothing_is_left,
        },
    ),
    LossCase(
        component="nn.scaled_dot_product_attention",
        configuration="causal, scale=0.5",
        ours=lambda query, key, value: nn.scaled_dot_product_attention(
            query, shared(key), shared(value), is_causal=True, scale=0.5
        ),
        reference=lambda query, key, value: F.scaled_dot_product_attention(
            query, shared(key), shared(value), is_causal=True, scale=0.5
        ),
        inputs=[(QUERY, KEY, VALUE)],
        wrt=(0, 1, 2),
        defects={
            "causal from the end": causal_from_the_end,
            "scale=1/√features": lambda query, key, value: nn.scaled_dot_product_attention(
                query, shared(key), shared(value), is_causal=True
            ),
        },
    ),
    LossCase(
        component="nn.scaled_dot_product_attention",
        configuration="floats to add",
        ours=lambda query, key, value, bias: nn.scaled_dot_product_attention(query, shared(key), shared(value), bias),
        reference=lambda query, key, value, bias: F.scaled_dot_product_attention(
            query, shared(key), shared(value), bias.expand(2, -1, -1, -1)
        ),
        inputs=[(OTHER_HEADS, KEY, VALUE, BIAS)],
        wrt=(0, 1, 2, 3),
        defects={
            "scaled as well": lambda query, key, value, bias: nn.scaled_dot_product_attention(
                query, shared(key), shared(value), bias / np.sqrt(WIDTH)
            )
        },
    ),
]

IS_IGNORED = np.arange(LENGTH) >= np.resize([5, 3, 1], (BATCH, 1))
IS_HIDDEN = ~np.tri(LENGTH, dtype=bool)
PADDING_BIAS = np.where(IS_IGNORED, -np.inf, 0.5).astype(np.float32)
BIAS_BY_HEAD = normal((BATCH * HEADS, LENGTH, LENGTH), SPREADS)[0]


class TorchSelf(torch.nn.MultiheadAttention):
    """A causal self-attention of a ragged batch, without the weights."""

    def forward(self, input):
        masks = {"key_padding_mask": torch.tensor(IS_IGNORED), "attn_mask": torch.tensor(IS_HIDDEN)}
        return super().forward(input, input, input, need_weights=False, **masks)[0]


class Self(nn.MultiheadAttention):
    causal = True
    ignored = IS_IGNORED

    def __call__(self, input):
        options = {"key_padding_mask": jnp.asarray(self.ignored), "is_causal": self.causal}
        return super().__call__(input, input, input, need_weights=False, **options)[0]


class NotCausal(Self):
    causal = False


class PaddedTheOtherWayRound(Self):
    ignored = ~IS_IGNORED


class TorchCross(torch.nn.MultiheadAttention):
    """An attention to keys and values of other sizes, with the weights of all heads."""

    def forward(self, input):
        masks = {
            "key_padding_mask": torch.tensor(PADDING_BIAS, dtype=input.dtype),
            "attn_mask": torch.tensor(BIAS_BY_HEAD, dtype=input.dtype),
        }
        output, weights = super().forward(
            input, input[..., : self.kdim], input[..., -self.vdim :], average_attn_weights=False, **masks
        )
        return torch.cat([output.flatten(), weights.flatten()])


class Cross(nn.MultiheadAttention):
    average = False

    def __call__(self, input):
        masks = {
            "key_padding_mask": jnp.asarray(PADDING_BIAS, input.dtype),
            "attn_mask": jnp.asarray(BIAS_BY_HEAD, input.dtype),
        }
        output, weights = super().__call__(
            input,
            input[..., : self.kdim],
            input[..., -self.vdim :],
            average_attn_weights=self.average,
            **masks,
        )
        heads = jnp.broadcast_to(weights[:, None] if self.average else weights, (BATCH, HEADS, *weights.shape[-2:]))
        return jnp.concatenate([output.ravel(), heads.ravel()])


class Averaged(Cross):
    average = True


class MaskByHeadTransposed(Cross):
    """The masks of the heads, as if the heads came before the examples."""

    def _masks(self, *given):
        padding, by_head = super()._masks(*given)
        return [padding, by_head.swapaxes(0, 1).reshape(by_head.shape)]


class AdditionalKeysIgnored(Cross):
    def _with_additional_keys(self, q, k, v):
        q, longer_k, longer_v = super()._with_additional_keys(q, k, v)
        return q, longer_k.at[:, k.shape[1] :].set(-100), longer_v


def case(configuration: str, ours: Callable, theirs: Callable, defects: dict[str, Callable], **options: Any) -> Case:
    def made(layer: Callable, rngs: nnx.Rngs) -> nnx.Module:
        return layer(WIDTH, HEADS, rngs=rngs, **options)

    return LayerCase(
        component="nn.MultiheadAttention",
        configuration=configuration,
        ours=partial(made, ours),
        reference=lambda: theirs(WIDTH, HEADS, batch_first=True, **options),
        inputs=normal((BATCH, LENGTH, WIDTH), SPREADS),
        defects={bug: partial(made, wrong) for bug, wrong in defects.items()},
        centre=0.0,
    )


LAYER = [
    case(
        "self-attention, causal, padded",
        Self,
        TorchSelf,
        {"not causal": NotCausal, "padded the other way round": PaddedTheOtherWayRound},
    ),
    case(
        "kdim, vdim, added keys, floats as masks, weights of all heads",
        Cross,
        TorchCross,
        {
            "weights averaged": Averaged,
            "heads before examples": MaskByHeadTransposed,
            "additional keys ignored": AdditionalKeysIgnored,
        },
        kdim=5,
        vdim=6,
        add_bias_kv=True,
        add_zero_attn=True,
    ),
]

CASES: list[Case] = [*FUNCTION, *LAYER]
