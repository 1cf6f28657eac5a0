"""Cases of the layers of a transformer."""

from collections.abc import Callable
from functools import partial
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

LENGTH, WIDTH = 4, 8
OPTIONS = {"d_model": WIDTH, "nhead": 2, "dim_feedforward": 6, "dropout": 0.0}
IS_IGNORED = np.arange(LENGTH) >= np.array([[4], [2], [1]])
MEMORY_IS_IGNORED = IS_IGNORED[::-1].copy()
IS_HIDDEN = ~np.tri(LENGTH, dtype=bool)


def torch_encoder(kind: type[torch.nn.Module], *arguments: Any, **options: Any) -> torch.nn.Module:
    """PyTorch's encoder layer, called on a ragged batch with a causal mask."""

    class Called(kind):
        def forward(self, input):
            return super().forward(input, torch.tensor(IS_HIDDEN), src_key_padding_mask=torch.tensor(IS_IGNORED))

    return Called(*arguments, **options)


def encoder(kind: type[nnx.Module], *arguments: Any, **options: Any) -> nnx.Module:
    """Our encoder layer, called in the same way."""

    class Called(kind):
        def __call__(self, input):
            return super().__call__(input, src_key_padding_mask=jnp.asarray(IS_IGNORED), is_causal=True)

    return Called(*arguments, **options)


def torch_decoder(kind: type[torch.nn.Module], *arguments: Any, **options: Any) -> torch.nn.Module:
    """PyTorch's decoder layer, whose memory is the sequence, read backwards."""

    class Called(kind):
        def forward(self, input):
            return super().forward(
                input,
                input.flip(1),
                tgt_mask=torch.tensor(IS_HIDDEN),
                tgt_key_padding_mask=torch.tensor(IS_IGNORED),
                memory_key_padding_mask=torch.tensor(MEMORY_IS_IGNORED),
            )

    return Called(*arguments, **options)


def decoder(kind: type[nnx.Module], *arguments: Any, **options: Any) -> nnx.Module:
    """Our decoder layer, called in the same way."""

    class Called(kind):
        def __call__(self, input):
            return super().__call__(
                input,
                input[:, ::-1],
                tgt_key_padding_mask=jnp.asarray(IS_IGNORED),
                memory_key_padding_mask=jnp.asarray(MEMORY_IS_IGNORED),
                tgt_is_causal=True,
            )

    return Called(*arguments, **options)


def torch_transformer(kind: type[torch.nn.Module], *arguments: Any, **options: Any) -> torch.nn.Module:
    """PyTorch's transformer, whose source is the target, read backwards."""

    class Called(kind):
        def forward(self, input):
            return super().forward(
                input.flip(1),
                input,
                tgt_mask=torch.tensor(IS_HIDDEN),
                src_key_padding_mask=torch.tensor(MEMORY_IS_IGNORED),
                tgt_key_padding_mask=torch.tensor(IS_IGNORED),
                memory_key_padding_mask=torch.tensor(MEMORY_IS_IGNORED),
            )

    return Called(*arguments, **options)


def transformer(kind: type[nnx.Module], *arguments: Any, **options: Any) -> nnx.Module:
    """Our transformer, called in the same way."""

    class Called(kind):
        def __call__(self, input):
            return super().__call__(
                input[:, ::-1],
                input,
                src_key_padding_mask=jnp.asarray(MEMORY_IS_IGNORED),
                tgt_key_padding_mask=jnp.asarray(IS_IGNORED),
                memory_key_padding_mask=jnp.asarray(MEMORY_IS_IGNORED),
                tgt_is_causal=True,
            )

    return Called(*arguments, **options)


def case(component: str, configuration: str, ours: Callable, theirs: Callable, defects: dict[str, Callable]) -> Case:
    return LayerCase(
        component=f"nn.{component}",
        configuration=configuration,
        ours=ours,
        reference=theirs,
        inputs=normal((3, LENGTH, WIDTH), [(0.0, 1.0), (0.5, 0.5)]),
        defects=defects,
        centre=0.0,
        right_is_enough=True,
        reason="an error may be as large as that of a rounding after every operation: few draws make almost all of it, "
        "those in which a norm divides by a small deviation or a rounding moves a unit of relu over zero",
    )


def encoder_layer(rngs: nnx.Rngs, kind: type[nnx.Module] = nn.TransformerEncoderLayer, **options: Any) -> nnx.Module:
    return encoder(kind, **OPTIONS | options, rngs=rngs)


def decoder_layer(rngs: nnx.Rngs, kind: type[nnx.Module] = nn.TransformerDecoderLayer, **options: Any) -> nnx.Module:
    return decoder(kind, **OPTIONS | options, rngs=rngs)


STACKS = OPTIONS | {"num_encoder_layers": 2, "num_decoder_layers": 1, "activation": "gelu"}


def whole(rngs: nnx.Rngs, kind: type[nnx.Module] = nn.Transformer, **options: Any) -> nnx.Module:
    return transformer(kind, **STACKS | options, rngs=rngs)


class WithoutLastNorm(nn.Transformer):
    """The decoder without a norm after its last layer."""

    def __call__(self, *sequences, **masks):
        self.decoder.norm = None
        return super().__call__(*sequences, **masks)


class LooksAtTheSource(nn.Transformer):
    """The decoder looks at the source itself."""

    def __call__(self, src, tgt, src_key_padding_mask=None, **masks):
        return self.decoder(tgt, src, **masks)


class WithoutMasks(nn.TransformerEncoderLayer):
    def __call__(self, src, *masks, **options):
        return super().__call__(src)


class MemoryFirst(nn.TransformerDecoderLayer):
    """The attention to the memory before the one to the sequence."""

    def __call__(self, tgt, memory, *masks, **options):
        self.norm1, self.norm2 = self.norm2, self.norm1
        self.self_attn, self.multihead_attn = self.multihead_attn, self.self_attn
        return super().__call__(tgt, memory, *masks, **options)


# The first case of each is judged in half precision, too: there, a rounding often moves a unit of relu over zero.
CASES: list[Case] = [
    case(
        "TransformerEncoderLayer",
        "gelu, norms first, no bias",
        partial(encoder_layer, activation="gelu", norm_first=True, bias=False),
        partial(
            torch_encoder,
            torch.nn.TransformerEncoderLayer,
            **OPTIONS,
            batch_first=True,
            activation="gelu",
            norm_first=True,
            bias=False,
        ),
        {"gelu by tanh": partial(encoder_layer, activation=jax.nn.gelu, norm_first=True, bias=False)},
    ),
    case(
        "TransformerEncoderLayer",
        "relu, norms last",
        encoder_layer,
        partial(torch_encoder, torch.nn.TransformerEncoderLayer, **OPTIONS, batch_first=True),
        {
            "norms first": partial(encoder_layer, norm_first=True),
            "no masks": partial(encoder_layer, kind=WithoutMasks),
        },
    ),
    case(
        "TransformerDecoderLayer",
        "gelu, norms last",
        partial(decoder_layer, activation="gelu"),
        partial(torch_decoder, torch.nn.TransformerDecoderLayer, **OPTIONS, batch_first=True, activation="gelu"),
        {
            "memory first": partial(decoder_layer, kind=MemoryFirst, activation="gelu"),
            "relu": decoder_layer,
        },
    ),
    case(
        "Transformer",
        "two encoder layers, one decoder layer",
        whole,
        partial(torch_transformer, torch.nn.Transformer, **STACKS, batch_first=True),
        {
            "no norm at the end": partial(whole, kind=WithoutLastNorm),
            "the decoder looks at the source": partial(whole, kind=LooksAtTheSource),
            "norms first": partial(whole, norm_first=True),
            "relu": partial(whole, activation="relu"),
        },
    ),
]
