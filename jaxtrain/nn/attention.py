"""Scaled dot-product attention."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from flax.nnx.nn.dtypes import promote_dtype
from jaxtyping import Array, Bool, Float

from jaxtrain._ground.arrays import as_array
from jaxtrain._ground.checks import check_choice, check_number, check_scalar, is_zero
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.nn._arrays import as_floating, check_flags
from jaxtrain.nn._softmax import softmax
from jaxtrain.nn.dropout import drop


def scaled_dot_product_attention(
    query: Float[Array, "..."],
    key: Float[Array, "..."],
    value: Float[Array, "..."],
    attn_mask: Bool[Array, "..."] | Float[Array, "..."] | None = None,
    dropout_p: float | jax.Array = 0.0,
    is_causal: bool = False,
    scale: float | jax.Array | None = None,
    enable_gqa: bool = False,
    *,
    dropout_key: jax.Array | None = None,
    implementation: Literal["xla", "cudnn"] | None = None,
) -> Float[Array, "..."]:
    """Average the values, with weights that depend on how well each query fits each key.

        y = softmax(scale · query · keyᵀ + mask) · value

    The arithmetic is at least float32. A query that may look at no key gets zeros.

    Args:
        query: array of shape (..., heads, queries, features); the leading axes broadcast.
        key: array of shape (..., heads, keys, features).
        value: array of shape (..., heads, keys, value_features).
        attn_mask: of a shape that broadcasts to (..., heads, queries, keys): booleans, True where a query may look at
            a key, or floats to add to the products. Default None: no mask.
        dropout_p: probability of dropping a weight, in [0, 1]; it may be traced. Default 0.
        is_causal: whether query i may look at the keys up to i only; not together with `attn_mask`. Default False.
        scale: factor of the products. Default None: 1/√features.
        enable_gqa: whether several heads of queries share a head of keys and values; the heads of the queries must be
            a multiple of theirs. Default False.
        dropout_key: random key; needed if `dropout_p` is not 0. Default None.
        implementation: which `jax.nn.dot_product_attention` to use: "cudnn" for the fused kernel of NVIDIA GPUs, which
            takes bfloat16 and float16 and never stores the weights, or "xla". Both need arrays of shape (batch, heads,
            length, features), a `scale` that is a number, and no dropout; a query that may look at no key gets
            arbitrary numbers. Default None: the arithmetic above, on every device.

    Returns:
        Array of shape (..., heads, queries, value_features), in the promoted dtype of query, key and value.

    Raises:
        TypeError: if query, key or value is not floating-point, or the mask has neither booleans nor floats.
        ValueError: if a shape does not fit, a mask comes with is_causal, dropout_p is out of range, or dropout_key is
            missing.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> query, value = jnp.zeros((2, 4)), jnp.array([[1.0], [3.0]])
        >>> print(nn.scaled_dot_product_attention(query, query, value, is_causal=True))
        [[1.]
         [2.]]

    PyTorch: `torch.nn.functional.scaled_dot_product_attention`, with the same axes. The random key is `dropout_key`, as
    `key` is the array of keys.

    Source: Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762
    """
    where = "scaled_dot_product_attention"
    query, key, value = (
        as_floating(where, array, name) for array, name in ((query, "query"), (key, "key"), (value, "value"))
    )
    check_flags(where, is_causal=is_causal, enable_gqa=enable_gqa)
    check_scalar(where, "dropout_p", dropout_p, 0.0, 1.0)
    _check_shapes(where, query, key, value, enable_gqa)
    groups = _groups(where, query, key, value) if enable_gqa else 1
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1]) if query.shape[-1] else 1.0
    check_number(where, "scale", scale)

    allowed, bias = None, None
    if is_causal:
        if attn_mask is not None:
            raise ValueError(f"{where}: expected attn_mask or is_causal, got both; let the mask hide the future")
        allowed = causal_mask(query.shape[-2], key.shape[-2])
    elif attn_mask is not None:
        attn_mask = as_mask(where, "attn_mask", attn_mask)
        allowed, bias = (attn_mask, None) if attn_mask.dtype == bool else (None, attn_mask)

    query, key, value = promote_dtype((query, key, value))
    if implementation is not None:
        check_choice(where, "implementation", implementation, ("xla", "cudnn"))
        _check_fused(where, implementation, query, key, value, scale, dropout_p, groups)
        for mask in (allowed, bias):
            if mask is not None:
                _check_broadcast(where, mask, (*query.shape[:-1], key.shape[-2]))
        query, key, value = (jnp.swapaxes(array, 1, 2) for array in (query, key, value))
        result = jax.nn.dot_product_attention(
            query,
            key,
            value,
            bias=None if bias is None else _with_four_axes(bias.astype(query.dtype)),
            mask=None if allowed is None or is_causal else _with_four_axes(allowed),
            scale=float(scale),
            is_causal=is_causal,
            implementation=implementation,
        )
        return jnp.swapaxes(result, 1, 2)
    grouped = _with_groups_as_queries(query, groups)
    weights = attention_weights(where, grouped, key, scale, allowed, bias, groups)
    if not is_zero(dropout_p):
        if dropout_key is None:
            raise ValueError(f"{where}: dropout needs randomness; pass dropout_key=jax.random.key(...), or dropout_p=0")
        weights = drop(where, weights, dropout_p, dropout_key)
    return weighted_values(weights, value, groups)


def attention_weights(
    where: str,
    query: jax.Array,
    key: jax.Array,
    scale: float | jax.Array,
    allowed: jax.Array | None,
    bias: jax.Array | None,
    groups: int = 1,
) -> jax.Array:
    """The weight of each key for each query, in at least float32.

    Args:
        where: name for errors.
        query: array of shape (..., heads, groups · queries, features).
        key: array of shape (..., heads, keys, features), of the same dtype.
        scale: factor of the products.
        allowed: where a query may look at a key; None for everywhere.
        bias: numbers to add to the products.
        groups: how many heads of queries share a head of keys.

    Returns:
        Array of shape (..., groups · heads, queries, keys); zeros where a query may look at no key.
    """
    dtype = at_least_float32(query.dtype)
    scores = jnp.matmul(query.astype(dtype), jnp.swapaxes(key.astype(dtype), -1, -2))
    scores = _with_groups_as_heads(scores * jnp.asarray(scale, dtype), groups)
    for mask in (allowed, bias):
        if mask is not None:
            _check_broadcast(where, mask, scores.shape)
    if allowed is None and bias is None:
        return softmax(scores)
    if bias is not None:
        scores += jnp.broadcast_to(bias.astype(dtype), scores.shape)
    if allowed is not None:
        scores = jnp.where(jnp.broadcast_to(allowed, scores.shape), scores, -jnp.inf)
    # Where no key is left, the softmax and its gradient would be NaN.
    is_left = jnp.any(scores != -jnp.inf, axis=-1, keepdims=True)
    return jnp.where(is_left, softmax(jnp.where(is_left, scores, 0)), 0)


def weighted_values(weights: jax.Array, value: jax.Array, groups: int = 1) -> jax.Array:
    """The sums of the values, summed in the dtype of the weights and returned in the values' own.

    Args:
        weights: array of shape (..., groups · heads, queries, keys).
        value: array of shape (..., heads, keys, features).
        groups: how many heads of weights share a head of values.

    Returns:
        Array of shape (..., groups · heads, queries, features).
    """
    total = jnp.matmul(_with_groups_as_queries(weights, groups), value.astype(weights.dtype))
    return _with_groups_as_heads(total, groups).astype(value.dtype)


def causal_mask(queries: int, keys: int) -> Bool[Array, "queries keys"]:
    """True where a query may look at a key: at those that come no later, counted from the start."""
    return jnp.tri(queries, keys, dtype=bool)


def as_mask(where: str, name: str, mask: jax.Array) -> jax.Array:
    """`mask` as an array; raise `TypeError` unless it has booleans or floats."""
    mask = as_array(where, name, mask)
    if mask.dtype != bool and not jnp.issubdtype(mask.dtype, jnp.floating):
        raise TypeError(f"{where}: {name} must hold booleans or floats, got {mask.dtype}; compare it, as in mask == 1")
    return mask


def _with_four_axes(mask: jax.Array) -> jax.Array:
    return mask.reshape(*(1,) * (4 - mask.ndim), *mask.shape)


def _check_fused(
    where: str,
    implementation: str,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    scale: float | jax.Array,
    dropout_p: float | jax.Array,
    groups: int,
) -> None:
    """Raise unless a kernel of JAX computes this attention."""
    shapes = f"query {query.shape}, key {key.shape}, value {value.shape}"
    heads = query.shape[1] // groups if query.ndim == 4 else 0
    if any(array.ndim != 4 or len(array) != len(query) for array in (query, key, value)) or not (
        key.shape[1] == value.shape[1] == heads and query.shape[-1] == value.shape[-1]
    ):
        raise ValueError(
            f"{where}: expected arrays of shape (batch, heads, length, features) with "
            f"implementation={implementation!r}, got {shapes}"
        )
    if implementation == "cudnn" and query.dtype not in (jnp.bfloat16, jnp.float16):
        raise ValueError(
            f"{where}: expected bfloat16 or float16 with implementation='cudnn', got {query.dtype}; convert the "
            "arrays, or leave out implementation"
        )
    if isinstance(scale, jax.Array) or not is_zero(dropout_p):
        raise ValueError(
            f"{where}: expected a number for scale and no dropout with implementation={implementation!r}; leave out "
            "implementation"
        )


def _with_groups_as_queries(array: jax.Array, groups: int) -> jax.Array:
    """From (..., groups · heads, queries, n) to (..., heads, groups · queries, n): no key needs to be repeated."""
    if groups == 1:
        return array
    *batch, heads, queries, size = array.shape
    split = array.reshape(*batch, heads // groups, groups, queries, size)
    return split.reshape(*batch, heads // groups, groups * queries, size)


def _with_groups_as_heads(array: jax.Array, groups: int) -> jax.Array:
    """Inverse of `_with_groups_as_queries`."""
    if groups == 1:
        return array
    *batch, heads, queries, size = array.shape
    split = array.reshape(*batch, heads, groups, queries // groups, size)
    return split.reshape(*batch, groups * heads, queries // groups, size)


def _check_shapes(where: str, query: jax.Array, key: jax.Array, value: jax.Array, is_grouped: bool) -> None:
    shapes = {"query": query.shape, "key": key.shape, "value": value.shape}
    if min(map(len, shapes.values())) < 2:
        raise ValueError(f"{where}: expected arrays of at least two dimensions, (..., length, features), got {shapes}")
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(f"{where}: expected as many features in query and key, got {shapes}")
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(f"{where}: expected as many values as keys, along axis -2, got {shapes}")
    # The heads, on axis -3, may be fewer in key and value, as `_groups` checks.
    leading = 3 if is_grouped else 2
    try:
        jnp.broadcast_shapes(*(shape[:-leading] for shape in shapes.values()))
    except ValueError:
        raise ValueError(f"{where}: expected examples and heads that broadcast, got {shapes}") from None


def _groups(where: str, query: jax.Array, key: jax.Array, value: jax.Array) -> int:
    """How many heads of queries share a head of keys."""
    shapes = f"query {query.shape}, key {key.shape}, value {value.shape}"
    if min(query.ndim, key.ndim, value.ndim) < 3:
        raise ValueError(f"{where}: enable_gqa needs an axis of heads, (..., heads, length, features), got {shapes}")
    heads, shared = query.shape[-3], key.shape[-3]
    if value.shape[-3] != shared or shared == 0 or heads % shared:
        raise ValueError(
            f"{where}: expected key and value to have one number of heads, on axis -3, which divides the query's; got "
            f"{shapes}"
        )
    return heads // shared


def _check_broadcast(where: str, mask: jax.Array, shape: tuple[int, ...]) -> None:
    """Raise `ValueError` unless the mask broadcasts to the shape of the scores."""
    try:
        fits = jnp.broadcast_shapes(mask.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{where}: expected attn_mask to broadcast to the shape (..., queries, keys) = {shape}, got {mask.shape}"
        )
