"""Stacks of transformer layers, and the transformer of an encoder and a decoder."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from jaxtrain._ground.checks import check_integer
from jaxtrain.nn._named import named
from jaxtrain.nn.initializers import xavier_uniform
from jaxtrain.nn.layer_norm import LayerNorm
from jaxtrain.nn.transformer_layers import (
    Mask,
    Memory,
    Sequence,
    TransformerDecoderLayer,
    TransformerEncoderLayer,
)


class TransformerStack(nnx.Module):
    """Copies of a layer, and a norm after the last."""

    def __init__(self, layer: nnx.Module, num_layers: int, norm: nnx.Module | None):
        check_integer(type(self).__name__, "num_layers", num_layers, 1)
        self.layers = nnx.List([_copy(layer, number) for number in range(num_layers)])
        self.norm = nnx.data(norm)
        self.num_layers = num_layers

    def _normed(self, x: jax.Array) -> jax.Array:
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(TransformerStack):
    """Apply encoder layers, one after another.

    All layers start as copies of one, with equal parameters; their dropout masks differ.

    Args:
        encoder_layer: the layer to copy, such as `nn.TransformerEncoderLayer`.
        num_layers: number of copies.
        norm: a norm after the last layer. Default None: no norm.

    Attributes:
        layers: the copies.
        norm: the norm, or None.

    Returns:
        When called with an array of shape (batch, length, d_model), or without the batch: an array of the same shape
        and dtype. `mask`, `src_key_padding_mask` and `is_causal` hold for every layer; `deterministic` overrides the
        mode of dropout.

    Raises:
        ValueError: if num_layers is below 1, or a shape does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.TransformerEncoderLayer(16, nhead=4, dim_feedforward=32, rngs=nnx.Rngs(0))
        >>> encoder = nn.TransformerEncoder(layer, num_layers=3, norm=nn.LayerNorm(16))
        >>> print(encoder(jnp.ones((2, 5, 16))).shape)
        (2, 5, 16)

    PyTorch: `torch.nn.TransformerEncoder`, whose layers also start equal. Its `is_causal` may be None, to find out
    whether the mask is causal; here it is a mask.

    Source: Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762
    """

    def __init__(self, encoder_layer: TransformerEncoderLayer, num_layers: int, norm: nnx.Module | None = None):
        super().__init__(encoder_layer, num_layers, norm)

    @named
    def __call__(
        self,
        src: Sequence,
        mask: Mask | None = None,
        src_key_padding_mask: Mask | None = None,
        is_causal: bool = False,
        *,
        deterministic: bool | None = None,
    ) -> Sequence:
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal, deterministic=deterministic)
        return self._normed(src)


class TransformerDecoder(TransformerStack):
    """Apply decoder layers, one after another.

    All layers start as copies of one, with equal parameters; their dropout masks differ.

    Args:
        decoder_layer: the layer to copy, such as `nn.TransformerDecoderLayer`.
        num_layers: number of copies.
        norm: a norm after the last layer. Default None: no norm.

    Attributes:
        layers: the copies.
        norm: the norm, or None.

    Returns:
        When called with a sequence of shape (batch, length, d_model) and a memory of shape (batch, memory, d_model), or
        both without the batch: an array of the sequence's shape and dtype. The masks, `tgt_is_causal` and
        `memory_is_causal` hold for every layer; `deterministic` overrides the mode of dropout.

    Raises:
        ValueError: if num_layers is below 1, or a shape does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.TransformerDecoderLayer(16, nhead=4, dim_feedforward=32, rngs=nnx.Rngs(0))
        >>> decoder = nn.TransformerDecoder(layer, num_layers=2)
        >>> print(decoder(jnp.ones((2, 5, 16)), jnp.ones((2, 9, 16)), tgt_is_causal=True).shape)
        (2, 5, 16)

    PyTorch: `torch.nn.TransformerDecoder`, whose layers also start equal. Its `tgt_is_causal` may be None, to find out
    whether the mask is causal; here it is a mask.

    Source: Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762
    """

    def __init__(self, decoder_layer: TransformerDecoderLayer, num_layers: int, norm: nnx.Module | None = None):
        super().__init__(decoder_layer, num_layers, norm)

    @named
    def __call__(
        self,
        tgt: Sequence,
        memory: Memory,
        tgt_mask: Mask | None = None,
        memory_mask: Mask | None = None,
        tgt_key_padding_mask: Mask | None = None,
        memory_key_padding_mask: Mask | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
        *,
        deterministic: bool | None = None,
    ) -> Sequence:
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        for layer in self.layers:
            tgt = layer(tgt, memory, *masks, tgt_is_causal, memory_is_causal, deterministic=deterministic)
        return self._normed(tgt)


class Transformer(nnx.Module):
    """Encode a sequence, and decode another one that looks at the result.

        y = decoder(tgt, encoder(src))

    Both are stacks of layers with a norm after the last. `model.train()` and `model.eval()` switch dropout.

    Args:
        d_model: number of features. Default 512.
        nhead: number of heads; it divides d_model. Default 8.
        num_encoder_layers: number of encoder layers, at least 1. Default 6.
        num_decoder_layers: number of decoder layers, at least 1. Default 6.
        dim_feedforward: number of features between the linear maps of a layer. Default 2048.
        dropout: probability of dropping an element in training, in [0, 1]. Default 0.1.
        activation: function between the linear maps, or "relu" or "gelu". Default `jax.nn.relu`.
        custom_encoder: a module in place of the encoder, called as `nn.TransformerEncoder` is. Default None.
        custom_decoder: a module in place of the decoder, called as `nn.TransformerDecoder` is. Default None.
        layer_norm_eps: added to the variance in the norms. Default 1e-5.
        norm_first: whether each norm is applied before its sub-layer instead of after the sum. Default False.
        bias: whether the linear maps and norms have biases. Default True.
        dtype: dtype of the attention and the linear maps. Default None: the promoted dtype of inputs and parameters.
        param_dtype: dtype of the parameters. Default float32.
        rngs: random streams; the parameters are drawn from `params`, and dropout forks the stream `dropout`.

    Attributes:
        encoder: `nn.TransformerEncoder`, or the custom one.
        decoder: `nn.TransformerDecoder`, or the custom one.

    Returns:
        When called with sequences `src` of shape (batch, source, d_model) and `tgt` of shape (batch, target, d_model),
        or both without the batch: an array of the shape and dtype of `tgt`. Masks that begin with `src` hold for the
        encoder, with `tgt` for the decoder's attention to itself, with `memory` for its attention to the encoder's
        result; `deterministic` overrides the mode of dropout.

    Raises:
        TypeError: if an input is not floating-point.
        ValueError: if an argument is out of range, or a shape does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> model = nn.Transformer(16, nhead=4, num_encoder_layers=2, num_decoder_layers=1, rngs=nnx.Rngs(0))
        >>> print(model(jnp.ones((2, 9, 16)), jnp.ones((2, 5, 16)), tgt_is_causal=True).shape)
        (2, 5, 16)

    PyTorch: `torch.nn.Transformer(batch_first=True)`, which draws all matrices in the same way. Its `src_is_causal`,
    `tgt_is_causal` and `memory_is_causal` need a mask and are hints about it; here they are masks, which replace
    `generate_square_subsequent_mask`.

    Source: Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[jax.Array], jax.Array] = jax.nn.relu,
        custom_encoder: nnx.Module | None = None,
        custom_decoder: nnx.Module | None = None,
        layer_norm_eps: float = 1e-5,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        options = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, norm_first, bias)
        given: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, param_dtype=param_dtype)

        if custom_encoder is None:
            check_integer("Transformer", "num_encoder_layers", num_encoder_layers, 1)
            custom_encoder = TransformerEncoder(TransformerEncoderLayer(*options, **given), num_encoder_layers, norm())
        if custom_decoder is None:
            check_integer("Transformer", "num_decoder_layers", num_decoder_layers, 1)
            custom_decoder = TransformerDecoder(TransformerDecoderLayer(*options, **given), num_decoder_layers, norm())
        self.encoder: Any = custom_encoder
        self.decoder: Any = custom_decoder
        _draw_matrices(self, rngs)

    @named
    def __call__(
        self,
        src: Memory,
        tgt: Sequence,
        src_mask: Mask | None = None,
        tgt_mask: Mask | None = None,
        memory_mask: Mask | None = None,
        src_key_padding_mask: Mask | None = None,
        tgt_key_padding_mask: Mask | None = None,
        memory_key_padding_mask: Mask | None = None,
        src_is_causal: bool = False,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
        *,
        deterministic: bool | None = None,
    ) -> Sequence:
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal, deterministic=deterministic)
        return self.decoder(
            tgt,
            memory,
            tgt_mask,
            memory_mask,
            tgt_key_padding_mask,
            memory_key_padding_mask,
            tgt_is_causal,
            memory_is_causal,
            deterministic=deterministic,
        )


def _draw_matrices(module: nnx.Module, rngs: nnx.Rngs) -> None:
    """Draw every matrix, which makes the copies in a stack differ."""
    for _, parameter in nnx.iter_graph(module):
        if isinstance(parameter, nnx.Param) and parameter.get_value().ndim > 1:
            old = parameter.get_value()
            parameter.set_value(xavier_uniform()(rngs.params(), old.shape, old.dtype))


def _copy(layer: nnx.Module, number: int) -> nnx.Module:
    """A copy of the layer with variables of its own, and random streams that differ from those of other copies."""
    copied = nnx.clone(layer)
    for _, node in nnx.iter_graph(copied):
        if isinstance(node, nnx.RngKey):
            node[...] = jax.random.fold_in(node[...], number)
    return copied
