"""Multi-head attention."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Bool, Float

from jaxtrain._ground.arrays import as_array
from jaxtrain._ground.checks import check_integer, check_scalar, is_zero
from jaxtrain.nn import initializers
from jaxtrain.nn._arrays import as_floating, check_dtypes, check_flags, check_rngs, value
from jaxtrain.nn._named import named
from jaxtrain.nn._products import affine
from jaxtrain.nn.attention import as_mask, attention_weights, causal_mask, weighted_values
from jaxtrain.nn.dropout import Dropout
from jaxtrain.nn.linear import Linear

Mask = Bool[Array, "..."] | Float[Array, "..."]


class MultiheadAttention(nnx.Module):
    """Let each query gather values from all keys, in several heads at once.

        head = softmax(q · kᵀ / √d) · v, where q, k and v are linear maps of query, key and value with d features
        y = [head₁, head₂, ...] · W + b

    The linear maps of all heads are one matrix for each of query, key and value. `model.train()` and `model.eval()`
    switch the dropout of the weights. A query that may look at no key gets zeros in place of the heads.

    The matrices start as by `initializers.xavier_uniform`, the output's uniform in [-1/√embed_dim, 1/√embed_dim), and
    biases at zero, except for the additional key and value, which start as by `initializers.xavier_normal`.

    Args:
        embed_dim: number of features of the query, the output, and all heads together.
        num_heads: number of heads; it divides embed_dim.
        dropout: probability of dropping a weight in training, in [0, 1]. Default 0.
        bias: whether the linear maps have a bias. Default True.
        add_bias_kv: whether to add a trained key with its value to the sequence. Default False.
        add_zero_attn: whether to add a key and a value of zeros to the sequence. Default False.
        kdim: number of features of the keys. Default None: embed_dim.
        vdim: number of features of the values. Default None: embed_dim.
        dtype: dtype of the computation. Default None: the promoted dtype of inputs and parameters.
        param_dtype: dtype of the parameters. Default float32.
        rngs: random streams; the parameters are drawn from `params`, and dropout forks the stream `dropout`.

    Attributes:
        in_proj_kernel: parameter of shape (embed_dim, 3 · embed_dim): the matrices of query, key and value. None if
            kdim or vdim differs from embed_dim.
        q_proj_kernel: parameter of shape (embed_dim, embed_dim), or None if there is in_proj_kernel.
        k_proj_kernel: parameter of shape (kdim, embed_dim), or None if there is in_proj_kernel.
        v_proj_kernel: parameter of shape (vdim, embed_dim), or None if there is in_proj_kernel.
        in_proj_bias: parameter of shape (3 · embed_dim,), or None.
        out_proj: `nn.Linear` of the output.
        bias_k: parameter of shape (1, 1, embed_dim): the additional key, or None.
        bias_v: parameter of shape (1, 1, embed_dim): the additional value, or None.
        dropout: `nn.Dropout` of the weights, or None.

    Returns:
        When called with a query of shape (batch, queries, embed_dim), a key of shape (batch, keys, kdim) and a value of
        shape (batch, keys, vdim): the output, of shape (batch, queries, embed_dim), and the weights averaged over the
        heads, of shape (batch, queries, keys). All may lack the axis of the batch. The call also takes

        - `key_padding_mask`, of shape (batch, keys): booleans, True where a key is to be ignored, or floats to add;
        - `attn_mask`, of shape (queries, keys) or (batch · num_heads, queries, keys): the same for single queries;
        - `is_causal=True`: query i looks at the keys up to i only, besides what the masks say;
        - `need_weights=False` for None in place of the weights;
        - `average_attn_weights=False` for all heads' weights, of shape (batch, num_heads, queries, keys);
        - `deterministic`, which overrides the mode of the dropout.

    Raises:
        TypeError: if an input is not floating-point, or a mask has neither booleans nor floats.
        ValueError: if num_heads does not divide embed_dim, dropout is out of range, or a shape does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.MultiheadAttention(8, num_heads=2, rngs=nnx.Rngs(0))
        >>> x = jnp.ones((3, 5, 8))
        >>> output, weights = layer(x, x, x, is_causal=True)
        >>> print(output.shape, weights[0, 1])
        (3, 5, 8) [0.5 0.5 0.  0.  0. ]

    PyTorch: `torch.nn.MultiheadAttention(batch_first=True)`. Its weights are these kernels transposed. With
    `need_weights=True` it gives NaN to a query that may look at no key. Its `is_causal` needs `attn_mask` and is a hint
    about it; here it is a mask.

    Source: Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        where = type(self).__name__
        check_integer(where, "embed_dim", embed_dim, 1)
        check_integer(where, "num_heads", num_heads, 1)
        if embed_dim % num_heads:
            raise ValueError(f"{where}: num_heads must divide embed_dim, got {num_heads} and {embed_dim}")
        check_scalar(where, "dropout", dropout, 0.0, 1.0)
        check_flags(where, bias=bias, add_bias_kv=add_bias_kv, add_zero_attn=add_zero_attn)
        check_dtypes(where, param_dtype=param_dtype, dtype=dtype)
        check_rngs(where, rngs)
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.add_zero_attn = add_zero_attn
        self.kdim = embed_dim if kdim is None else check_integer(where, "kdim", kdim, 1)
        self.vdim = embed_dim if vdim is None else check_integer(where, "vdim", vdim, 1)
        self.dtype = dtype

        def parameter(initializer: Any, *shape: int, wanted: bool = True) -> Any:
            return nnx.data(nnx.Param(initializer(rngs.params(), shape, param_dtype)) if wanted else None)

        xavier, zeros = initializers.xavier_uniform(), initializers.zeros()
        is_packed = self.kdim == self.vdim == embed_dim
        self.in_proj_kernel = parameter(xavier, embed_dim, 3 * embed_dim, wanted=is_packed)
        self.q_proj_kernel = parameter(xavier, embed_dim, embed_dim, wanted=not is_packed)
        self.k_proj_kernel = parameter(xavier, self.kdim, embed_dim, wanted=not is_packed)
        self.v_proj_kernel = parameter(xavier, self.vdim, embed_dim, wanted=not is_packed)
        self.in_proj_bias = parameter(zeros, 3 * embed_dim, wanted=bias)
        self.out_proj = Linear(
            embed_dim, embed_dim, bias, dtype=dtype, param_dtype=param_dtype, bias_init=zeros, rngs=rngs
        )
        additional = initializers.normal(std=1 / math.sqrt(embed_dim))
        self.bias_k = parameter(additional, 1, 1, embed_dim, wanted=add_bias_kv)
        self.bias_v = parameter(additional, 1, 1, embed_dim, wanted=add_bias_kv)
        self.dropout = nnx.data(None if is_zero(dropout) else Dropout(dropout, rngs=rngs))

    @named
    def __call__(
        self,
        query: Float[Array, "*batch queries embed_dim"],
        key: Float[Array, "*batch keys kdim"],
        value: Float[Array, "*batch keys vdim"],
        key_padding_mask: Mask | None = None,
        need_weights: bool = True,
        attn_mask: Mask | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        deterministic: bool | None = None,
    ) -> tuple[Float[Array, "*batch queries embed_dim"], Float[Array, "..."] | None]:
        where = type(self).__name__
        check_flags(where, need_weights=need_weights, average_attn_weights=average_attn_weights, is_causal=is_causal)
        inputs = self._checked(query, key, value)
        is_batched = inputs[0].ndim == 3
        if not is_batched:
            inputs = [array[None] for array in inputs]
            if key_padding_mask is not None:
                key_padding_mask = as_array(where, "key_padding_mask", key_padding_mask)[None]
        masks = self._masks(inputs, key_padding_mask, attn_mask, is_causal)

        projected = self._projected(inputs, is_one=query is key and key is value)
        q, k, v = map(self._with_heads, self._with_additional_keys(*projected))
        allowed, bias = _merged([_extended(mask, k.shape[-2]) for mask in masks])
        weights = attention_weights(where, q, k, 1 / math.sqrt(q.shape[-1]), allowed, bias)
        if self.dropout is not None:
            weights = self.dropout(weights, deterministic=deterministic)
        heads = jnp.swapaxes(weighted_values(weights, v), 1, 2)
        output = self.out_proj(heads.reshape(*heads.shape[:2], self.embed_dim))

        returned = None
        if need_weights:
            returned = (jnp.mean(weights, axis=1) if average_attn_weights else weights).astype(output.dtype)
        if is_batched:
            return output, returned
        return output[0], None if returned is None else returned[0]

    def _checked(self, *inputs: ArrayLike) -> list[jax.Array]:
        """Query, key and value as arrays; raise unless their shapes fit."""
        where = type(self).__name__
        names = ("query", "key", "value")
        query, key, value = (as_floating(where, array, name) for array, name in zip(inputs, names, strict=True))
        sizes = (self.embed_dim, self.kdim, self.vdim)
        if (
            query.ndim not in (2, 3)
            or key.shape[:-2] != query.shape[:-2]
            or value.shape[:-1] != key.shape[:-1]
            or any(array.shape[-1:] != (size,) for array, size in zip((query, key, value), sizes, strict=True))
        ):
            raise ValueError(
                f"{where}: expected a query of shape (batch, queries, {sizes[0]}), a key of shape (batch, keys, "
                f"{sizes[1]}) and a value of shape (batch, keys, {sizes[2]}), or all without the batch, got "
                f"{query.shape}, {key.shape} and {value.shape}; the batch comes first"
            )
        return [query, key, value]

    def _masks(
        self, inputs: list[jax.Array], key_padding_mask: Mask | None, attn_mask: Mask | None, is_causal: bool
    ) -> list[jax.Array]:
        """All masks, which broadcast to (batch, heads, queries, keys): True to ignore a key, or floats to add."""
        where = type(self).__name__
        (batch, queries, _), keys = inputs[0].shape, inputs[1].shape[1]
        masks = []
        if key_padding_mask is not None:
            mask = as_mask(where, "key_padding_mask", key_padding_mask)
            if mask.shape != (batch, keys):
                raise ValueError(f"{where}: expected key_padding_mask of shape {(batch, keys)}, got {mask.shape}")
            masks.append(mask[:, None, None, :])
        if attn_mask is not None:
            mask = as_mask(where, "attn_mask", attn_mask)
            if mask.shape not in ((queries, keys), (batch * self.num_heads, queries, keys)):
                raise ValueError(
                    f"{where}: expected attn_mask of shape {(queries, keys)} or "
                    f"{(batch * self.num_heads, queries, keys)}, got {mask.shape}"
                )
            masks.append(mask.reshape(-1, self.num_heads if mask.ndim == 3 else 1, queries, keys))
        if is_causal:
            masks.append(~causal_mask(queries, keys)[None, None])
        return masks

    def _projected(self, inputs: list[jax.Array], *, is_one: bool) -> list[jax.Array]:
        """The linear maps of query, key and value; one product where these are one array."""
        separate = (self.q_proj_kernel, self.k_proj_kernel, self.v_proj_kernel)
        given = (*inputs, value(self.in_proj_bias), value(self.in_proj_kernel), *map(value, separate))
        promoted: list[Any] = list(promote_dtype(given, dtype=self.dtype))
        inputs, bias, packed, kernels = promoted[:3], *promoted[3:5], promoted[5:]
        if packed is not None and is_one:
            return jnp.split(affine(jnp.matmul, inputs[0], packed, bias), 3, axis=-1)
        if packed is not None:
            kernels = jnp.split(packed, 3, axis=-1)
        biases = [None] * 3 if bias is None else jnp.split(bias, 3)
        maps = zip(inputs, kernels, biases, strict=True)
        return [affine(jnp.matmul, input, kernel, own) for input, kernel, own in maps]

    def _with_additional_keys(self, q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Query, key and value with the trained key and the key of zeros at the end, if the layer has them."""
        nothing = jnp.zeros_like(jnp.sum(k, axis=1, keepdims=True))  # It lies on the devices like the keys.
        if self.bias_k is not None:
            k = jnp.concatenate([k, nothing + self.bias_k[...].astype(k.dtype)], axis=1)
            v = jnp.concatenate([v, nothing + self.bias_v[...].astype(v.dtype)], axis=1)
        if self.add_zero_attn:
            k, v = (jnp.concatenate([array, nothing], axis=1) for array in (k, v))
        return q, k, v

    def _with_heads(self, array: jax.Array) -> jax.Array:
        """From (batch, length, embed_dim) to (batch, heads, length, features)."""
        return jnp.swapaxes(array.reshape(*array.shape[:2], self.num_heads, -1), 1, 2)


def _extended(mask: jax.Array, keys: int) -> jax.Array:
    """The mask, extended to `keys` keys, of which the additional ones are neither ignored nor changed."""
    return jnp.pad(mask, [(0, 0)] * 3 + [(0, keys - mask.shape[-1])])


def _merged(masks: list[jax.Array]) -> tuple[jax.Array | None, jax.Array | None]:
    """Where a query may look at a key, and what is to be added to their product; None for everywhere and nothing."""
    allowed, bias = None, None
    for mask in masks:
        if mask.dtype == bool:
            allowed = ~mask if allowed is None else allowed & ~mask
        else:
            bias = mask if bias is None else bias + mask.astype(bias.dtype)
    return allowed, bias
