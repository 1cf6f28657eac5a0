"""Stacks of transformer layers."""

import jax
from flax import nnx

from jaxtrain._ground.checks import check_integer
from jaxtrain.nn._named import named
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


def _copy(layer: nnx.Module, number: int) -> nnx.Module:
    """A copy of the layer with variables of its own, and random streams that differ from those of other copies."""
    copied = nnx.clone(layer)
    for _, node in nnx.iter_graph(copied):
        if isinstance(node, nnx.RngKey):
            node[...] = jax.random.fold_in(node[...], number)
    return copied
