"""The layers of a transformer's encoder and decoder."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from jaxtrain._ground.checks import check_choice, check_integer, is_zero
from jaxtrain.nn._arrays import as_floating, check_flags
from jaxtrain.nn._named import named
from jaxtrain.nn.dropout import Dropout
from jaxtrain.nn.layer_norm import LayerNorm
from jaxtrain.nn.linear import Linear
from jaxtrain.nn.multihead_attention import MultiheadAttention

Sequence = Float[Array, "*batch length d_model"]
Memory = Float[Array, "*batch memory d_model"]
Mask = Bool[Array, "..."] | Float[Array, "..."]

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
}


class TransformerLayer(nnx.Module):
    """What both kinds have in common: attention to themselves and a feed-forward part, each with a residual sum."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        dropout: float,
        activation: str | Callable[[jax.Array], jax.Array],
        layer_norm_eps: float,
        norm_first: bool,
        bias: bool,
        *,
        sublayers: int,
        dtype: DTypeLike | None,
        param_dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        where = type(self).__name__
        check_integer(where, "dim_feedforward", dim_feedforward, 1)
        check_flags(where, norm_first=norm_first, bias=bias)
        if not callable(activation):
            check_choice(where, "activation", activation, ACTIVATIONS)
        self.norm_first = norm_first
        self.activation = activation if callable(activation) else ACTIVATIONS[activation]

        given: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, **given)
        if sublayers == 3:
            self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias, **given)
        self.linear1 = Linear(d_model, dim_feedforward, bias, **given)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **given)
        for number in range(1, sublayers + 1):
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, param_dtype=param_dtype)
            setattr(self, f"norm{number}", norm)
        self.dropout = nnx.data(None if is_zero(dropout) else Dropout(dropout, rngs=rngs))
        for number in range(1, sublayers + 1):
            setattr(self, f"dropout{number}", nnx.data(None if is_zero(dropout) else Dropout(dropout, rngs=rngs)))

    def _with_sublayer(
        self, x: jax.Array, number: int, sublayer: Callable[[jax.Array], jax.Array], deterministic: bool | None
    ) -> jax.Array:
        """The sum of `x` and what a sub-layer makes of it, with the norm before or after."""
        norm, dropout = getattr(self, f"norm{number}"), getattr(self, f"dropout{number}")
        result = _dropped(dropout, sublayer(norm(x) if self.norm_first else x), deterministic)
        total = x + result.astype(x.dtype)
        return total if self.norm_first else norm(total)

    def _attend_to_self(self, x: jax.Array, deterministic: bool | None, **masks: Any) -> jax.Array:
        return self.self_attn(x, x, x, need_weights=False, deterministic=deterministic, **masks)[0]

    def _feed_forward(self, x: jax.Array, deterministic: bool | None) -> jax.Array:
        return self.linear2(_dropped(self.dropout, self.activation(self.linear1(x)), deterministic))


def _dropped(dropout: Dropout | None, x: jax.Array, deterministic: bool | None) -> jax.Array:
    return x if dropout is None else dropout(x, deterministic=deterministic)


class TransformerEncoderLayer(TransformerLayer):
    """Let each position of a sequence look at the others, then transform it alone.

        x ← norm1(x + self_attn(x))
        x ← norm2(x + linear2(activation(linear1(x))))

    With `norm_first`, x ← x + self_attn(norm1(x)), and likewise below. `model.train()` and `model.eval()` switch
    dropout, which acts on the weights of the attention, after the activation, and before each sum.

    Args:
        d_model: number of features.
        nhead: number of heads; it divides d_model.
        dim_feedforward: number of features between linear1 and linear2. Default 2048.
        dropout: probability of dropping an element in training, in [0, 1]. Default 0.1.
        activation: function between linear1 and linear2, or "relu" or "gelu". Default `jax.nn.relu`.
        layer_norm_eps: added to the variance in the norms. Default 1e-5.
        norm_first: whether each norm is applied before its sub-layer instead of after the sum. Default False.
        bias: whether the linear maps and norms have biases. Default True.
        dtype: dtype of the attention and the linear maps. Default None: the promoted dtype of input and parameters.
        param_dtype: dtype of the parameters. Default float32.
        rngs: random streams; the parameters are drawn from `params`, and dropout forks the stream `dropout`.

    Attributes:
        self_attn: `nn.MultiheadAttention`.
        linear1: `nn.Linear`.
        linear2: `nn.Linear`.
        norm1: `nn.LayerNorm`.
        norm2: `nn.LayerNorm`.
        dropout: `nn.Dropout` after the activation, or None.
        dropout1: `nn.Dropout` before the first sum, or None.
        dropout2: `nn.Dropout` before the second sum, or None.

    Returns:
        When called with an array of shape (batch, length, d_model), or without the batch: an array of the same shape
        and dtype. `src_mask`, `src_key_padding_mask` and `is_causal` are those of `nn.MultiheadAttention`;
        `deterministic` overrides the mode of dropout.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if an argument is out of range, or a shape does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.TransformerEncoderLayer(16, nhead=4, dim_feedforward=32, norm_first=True, rngs=nnx.Rngs(0))
        >>> print(layer(jnp.ones((2, 5, 16)), is_causal=True).shape)
        (2, 5, 16)

    PyTorch: `torch.nn.TransformerEncoderLayer(batch_first=True)`. Its `is_causal` needs `src_mask` and is a hint about
    it; here it is a mask.

    Source: Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762; norms first: Xiong et
    al., "On Layer Normalization in the Transformer Architecture", 2020, https://arxiv.org/abs/2002.04745
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[jax.Array], jax.Array] = jax.nn.relu,
        layer_norm_eps: float = 1e-5,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            norm_first,
            bias,
            sublayers=2,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )

    @named
    def __call__(
        self,
        src: Sequence,
        src_mask: Mask | None = None,
        src_key_padding_mask: Mask | None = None,
        is_causal: bool = False,
        *,
        deterministic: bool | None = None,
    ) -> Sequence:
        x = as_floating(type(self).__name__, src, "src")
        masks = {"attn_mask": src_mask, "key_padding_mask": src_key_padding_mask, "is_causal": is_causal}
        x = self._with_sublayer(x, 1, lambda x: self._attend_to_self(x, deterministic, **masks), deterministic)
        return self._with_sublayer(x, 2, lambda x: self._feed_forward(x, deterministic), deterministic)


class TransformerDecoderLayer(TransformerLayer):
    """Let each position of a sequence look at the others, then at a memory, then transform it alone.

        x ← norm1(x + self_attn(x))
        x ← norm2(x + multihead_attn(x, memory))
        x ← norm3(x + linear2(activation(linear1(x))))

    With `norm_first`, x ← x + self_attn(norm1(x)), and likewise below. `model.train()` and `model.eval()` switch
    dropout, which acts on the weights of both attentions, after the activation, and before each sum.

    Args:
        d_model: number of features.
        nhead: number of heads; it divides d_model.
        dim_feedforward: number of features between linear1 and linear2. Default 2048.
        dropout: probability of dropping an element in training, in [0, 1]. Default 0.1.
        activation: function between linear1 and linear2, or "relu" or "gelu". Default `jax.nn.relu`.
        layer_norm_eps: added to the variance in the norms. Default 1e-5.
        norm_first: whether each norm is applied before its sub-layer instead of after the sum. Default False.
        bias: whether the linear maps and norms have biases. Default True.
        dtype: dtype of the attention and the linear maps. Default None: the promoted dtype of inputs and parameters.
        param_dtype: dtype of the parameters. Default float32.
        rngs: random streams; the parameters are drawn from `params`, and dropout forks the stream `dropout`.

    Attributes:
        self_attn: `nn.MultiheadAttention` to the sequence.
        multihead_attn: `nn.MultiheadAttention` to the memory.
        linear1: `nn.Linear`.
        linear2: `nn.Linear`.
        norm1: `nn.LayerNorm`.
        norm2: `nn.LayerNorm`.
        norm3: `nn.LayerNorm`.
        dropout: `nn.Dropout` after the activation, or None.
        dropout1: `nn.Dropout` before the first sum, or None.
        dropout2: `nn.Dropout` before the second sum, or None.
        dropout3: `nn.Dropout` before the third sum, or None.

    Returns:
        When called with a sequence of shape (batch, length, d_model) and a memory of shape (batch, memory, d_model), or
        both without the batch: an array of the sequence's shape and dtype. `tgt_mask`, `tgt_key_padding_mask` and
        `tgt_is_causal` are those of `nn.MultiheadAttention` to the sequence, `memory_mask`,
        `memory_key_padding_mask` and `memory_is_causal` to the memory; `deterministic` overrides the mode of dropout.

    Raises:
        TypeError: if an input is not floating-point.
        ValueError: if an argument is out of range, or a shape does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.TransformerDecoderLayer(16, nhead=4, dim_feedforward=32, rngs=nnx.Rngs(0))
        >>> print(layer(jnp.ones((2, 5, 16)), jnp.ones((2, 9, 16)), tgt_is_causal=True).shape)
        (2, 5, 16)

    PyTorch: `torch.nn.TransformerDecoderLayer(batch_first=True)`. Its `tgt_is_causal` and `memory_is_causal` need a
    mask and are hints about it; here they are masks.

    Source: Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762; norms first: Xiong et
    al., "On Layer Normalization in the Transformer Architecture", 2020, https://arxiv.org/abs/2002.04745
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[jax.Array], jax.Array] = jax.nn.relu,
        layer_norm_eps: float = 1e-5,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            norm_first,
            bias,
            sublayers=3,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )

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
        x = as_floating(type(self).__name__, tgt, "tgt")
        memory = as_floating(type(self).__name__, memory, "memory")
        masks = {"attn_mask": tgt_mask, "key_padding_mask": tgt_key_padding_mask, "is_causal": tgt_is_causal}

        def attend_to_memory(x: jax.Array) -> jax.Array:
            output, _ = self.multihead_attn(
                x,
                memory,
                memory,
                key_padding_mask=memory_key_padding_mask,
                need_weights=False,
                attn_mask=memory_mask,
                is_causal=memory_is_causal,
                deterministic=deterministic,
            )
            return output

        x = self._with_sublayer(x, 1, lambda x: self._attend_to_self(x, deterministic, **masks), deterministic)
        x = self._with_sublayer(x, 2, attend_to_memory, deterministic)
        return self._with_sublayer(x, 3, lambda x: self._feed_forward(x, deterministic), deterministic)
