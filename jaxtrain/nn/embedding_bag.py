"""Sums, means and maxima of vectors that are looked up by index."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Integer

from jaxtrain._ground.arrays import as_array
from jaxtrain._ground.checks import check_choice, check_flag
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.float64 import as_float64, in_float64
from jaxtrain._ground.sums import is_small
from jaxtrain.nn._arrays import as_floating, as_floating_or_none
from jaxtrain.nn._named import named
from jaxtrain.nn.embedding import Embedding, look_up

Mode = Literal["sum", "mean", "max"]
MODES: tuple[str, ...] = get_args(Mode)


def embedding_bag(
    input: Integer[Array, "..."],
    weight: Float[Array, "num_embeddings embedding_dim"],
    offsets: Integer[Array, "offsets"] | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: Mode = "mean",
    per_sample_weights: Float[Array, "..."] | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Float[Array, "bags embedding_dim"]:
    """Look up rows of a table, and reduce the rows of each bag to one.

        y_b = Σ_i per_sample_weights[i] · weight[input[i]] over the bag, or the mean or the maximum of its rows

    Args:
        input: indices in [0, num_embeddings): a row for each bag, or the bags one after the other in a vector.
        weight: table of shape (num_embeddings, embedding_dim).
        offsets: where each bag begins in a vector of indices, increasing from 0. Default None: `input` has rows.
        max_norm: largest norm of a row. Default None: no limit.
        norm_type: order of the norm, above 0; infinity for the largest magnitude. Default 2.
        scale_grad_by_freq: whether to divide the gradient of each row by the number of its look-ups; not for "max".
            Default False.
        mode: "sum", "mean" or "max". Default "mean".
        per_sample_weights: factors of the rows, of the shape of `input`, for "sum" only. Default None: 1.
        include_last_offset: whether `offsets` has one entry more, where the last bag ends. Default False.
        padding_idx: index that counts in no bag, counted from the end if negative. Default None: no such index.

    Returns:
        Array of shape (bags, embedding_dim), in the table's dtype; zeros for an empty bag, NaN where an index is out of
        range. If several rows of a bag are the largest, the first of them gets the gradient.

    Raises:
        TypeError: if indices or offsets are not integers.
        ValueError: if the shapes do not fit, or an argument does not fit the mode.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> table = jnp.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
        >>> print(nn.embedding_bag(jnp.array([0, 1, 2]), table, jnp.array([0, 2])))
        [[1. 2.]
         [4. 5.]]

    PyTorch: `torch.nn.functional.embedding_bag`, which raises an error for an index out of range and, with `max_norm`,
    shrinks the table itself (see `nn.embedding`). `sparse` is omitted: in JAX, gradients are dense.
    """
    input, weight = as_array("embedding_bag", "input", input), as_floating("embedding_bag", weight, "weight")
    factors = as_floating_or_none("embedding_bag", "per_sample_weights", per_sample_weights)
    _check(mode, scale_grad_by_freq, include_last_offset, factors is not None)
    bag, count = _bags(input, offsets, include_last_offset)
    if factors is not None and factors.shape != input.shape:
        raise ValueError(
            f"embedding_bag: per_sample_weights must have the shape {input.shape} of input, got {factors.shape}"
        )
    flat = input.reshape(-1)
    rows = look_up("embedding_bag", flat, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    rows = rows.astype(at_least_float32(weight.dtype))
    if padding_idx is not None:
        # A bag beyond the last one: whatever is added to it is dropped.
        bag = jnp.where(flat == padding_idx % len(weight), count, bag)
    if mode == "max":
        return _largest(rows, bag, count).astype(weight.dtype)
    if factors is None:
        total = jax.ops.segment_sum(rows, bag, count)
    else:
        total = _weighted_sums(rows, factors.reshape(-1, 1).astype(rows.dtype), bag, count)
    if mode == "mean":
        sizes = jax.ops.segment_sum(jnp.ones(len(flat), rows.dtype), bag, count)
        total /= jnp.maximum(sizes, 1)[:, None]
    return total.astype(weight.dtype)


def _weighted_sums(rows: jax.Array, factors: jax.Array, bag: jax.Array, count: int) -> jax.Array:
    """The weighted sum of each bag, of few rows in float64: XLA rounds a product before it adds it."""

    def sums() -> jax.Array:
        products = as_float64(rows) * as_float64(factors) if is_small(rows) else rows * factors
        return jax.ops.segment_sum(products, bag, count)

    return in_float64(sums, dtype=rows.dtype)


class EmbeddingBag(Embedding):
    """Look up rows of a trained table, and reduce the rows of each bag to one.

        y_b = Σ_i per_sample_weights[i] · embedding[input[i]] over the bag, or the mean or the maximum of its rows

    The table starts normal with mean 0 and variance 1, except for zeros in the row of `padding_idx`.

    Args:
        num_embeddings: number of rows.
        embedding_dim: length of a row.
        max_norm: largest norm of a row. Default None: no limit.
        norm_type: order of the norm, above 0; infinity for the largest magnitude. Default 2.
        scale_grad_by_freq: whether to divide the gradient of each row by the number of its look-ups in the batch; not
            for "max". Default False.
        mode: "sum", "mean" or "max". Default "mean".
        include_last_offset: whether `offsets` has one entry more, where the last bag ends. Default False.
        padding_idx: index that counts in no bag, counted from the end if negative. Default None: no such index.
        param_dtype: dtype of the table. Default float32.
        embedding_init: initializer of the table. Default None: as above.
        rngs: random streams; the table is drawn from `params`.

    Attributes:
        embedding: parameter of shape (num_embeddings, embedding_dim).

    Returns:
        When called with indices, offsets and weights of the indices, the last two optional, as `nn.embedding_bag`: an
        array of shape (bags, embedding_dim).

    Raises:
        TypeError: if indices or offsets are not integers.
        ValueError: if a size is out of range, the shapes do not fit, or an argument does not fit the mode.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.EmbeddingBag(10, 3, mode="sum", rngs=nnx.Rngs(0))
        >>> print(layer(jnp.array([[1, 2, 4], [4, 3, 2]])).shape)
        (2, 3)

    PyTorch: `torch.nn.EmbeddingBag`, whose `weight` is `embedding` here (see `nn.embedding_bag`).
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: Mode = "mean",
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        *,
        param_dtype: DTypeLike = jnp.float32,
        embedding_init: Initializer | None = None,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            param_dtype=param_dtype,
            embedding_init=embedding_init,
            rngs=rngs,
        )
        _check(mode, scale_grad_by_freq, include_last_offset, weighted=False)
        self.mode: Mode = mode
        self.include_last_offset = include_last_offset

    @named
    def __call__(
        self,
        input: Integer[Array, "..."],
        offsets: Integer[Array, "offsets"] | None = None,
        per_sample_weights: Float[Array, "..."] | None = None,
    ) -> Float[Array, "bags embedding_dim"]:
        return embedding_bag(
            input,
            self.embedding[...],
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )


def _check(mode: str, scale_grad_by_freq: bool, include_last_offset: bool, weighted: bool) -> None:
    """Raise unless the arguments fit the mode."""
    check_choice("embedding_bag", "mode", mode, MODES)
    check_flag("embedding_bag", "scale_grad_by_freq", scale_grad_by_freq)
    check_flag("embedding_bag", "include_last_offset", include_last_offset)
    if scale_grad_by_freq and mode == "max":
        raise ValueError("embedding_bag: scale_grad_by_freq is for modes 'sum' and 'mean', got mode 'max'")
    if weighted and mode != "sum":
        raise ValueError(f"embedding_bag: per_sample_weights are for mode 'sum', got mode {mode!r}")


def _bags(input: jax.Array, offsets: jax.Array | None, include_last_offset: bool) -> tuple[jax.Array, int]:
    """The bag of each index, and the number of bags."""
    if input.ndim != (2 if offsets is None else 1):
        raise ValueError(
            "embedding_bag: expected indices of shape (bags, length) without offsets, or a vector with offsets, got "
            f"indices of shape {input.shape} {'without' if offsets is None else 'with'} offsets"
        )
    if offsets is None:
        return jnp.asarray(np.repeat(np.arange(input.shape[0], dtype=np.int32), input.shape[1])), input.shape[0]
    offsets = as_array("embedding_bag", "offsets", offsets)
    if not jnp.issubdtype(offsets.dtype, jnp.integer):
        raise TypeError(f"embedding_bag: offsets must hold integers, got {offsets.dtype}")
    if offsets.ndim != 1 or len(offsets) < include_last_offset:
        raise ValueError(f"embedding_bag: offsets must be a vector with an entry for each bag, got {offsets.shape}")
    places = jnp.arange(len(input), dtype=offsets.dtype)
    return jnp.searchsorted(offsets, places, side="right").astype(jnp.int32) - 1, len(offsets) - include_last_offset


def _largest(rows: jax.Array, bag: jax.Array, count: int) -> jax.Array:
    """The largest elements of each bag; the first of several gets the gradient."""
    largest = jax.ops.segment_max(jax.lax.stop_gradient(rows), bag, count)
    place = jnp.arange(len(rows), dtype=jnp.int32)[:, None]
    wins = rows >= jnp.take(largest, bag, 0, mode="clip")
    first = jax.ops.segment_min(jnp.where(wins, place, len(rows)), bag, count)
    found = jnp.take_along_axis(rows, first, 0, mode="fill")
    is_empty = jax.ops.segment_sum(jnp.ones(len(rows), jnp.int32), bag, count) == 0
    return jnp.where(is_empty[:, None], 0, found)
