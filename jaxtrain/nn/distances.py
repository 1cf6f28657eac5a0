"""Norms of vectors, distances and angles between them."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_flag, check_number, is_zero
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.norms import norm
from jaxtrain.nn._arrays import as_floating, canonical_axis


def normalize(
    input: Float[Array, "*shape"], p: float = 2.0, eps: float = 1e-12, *, axis: int = -1
) -> Float[Array, "*shape"]:
    """Divide vectors by their norms.

        y = x / max(‖x‖_p, eps)

    Args:
        input: array of one or more dimensions.
        p: order of the norm; infinity for the largest magnitude. Default 2.
        eps: smallest divisor. Default 1e-12.
        axis: axis along which the vectors lie. Default -1.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if the axis does not exist.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.normalize(jnp.array([[3.0, 4.0], [0.0, 0.0]])))
        [[0.6 0.8]
         [0.  0. ]]

    PyTorch: `torch.nn.functional.normalize`, whose `dim` is `axis` here and is 1 by default, as channels lie there. In
    half precision its default `eps` is 0, so that zeros become NaN.
    """
    input = as_floating("normalize", input)
    axis = canonical_axis("normalize", input, axis)
    check_number("normalize", "p", p)
    check_number("normalize", "eps", eps)
    x = input.astype(at_least_float32(input.dtype))
    length = _length(x, p, axis)
    return (x / jnp.where(length < eps, eps, length)).astype(input.dtype)


def pairwise_distance(
    x1: Float[Array, "..."], x2: Float[Array, "..."], p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Float[Array, "..."]:
    """The distances between vectors with the same index.

        y = ‖x1 - x2 + eps‖_p

    Args:
        x1: array of one or more dimensions; the vectors lie along the last axis.
        x2: array that broadcasts with `x1`.
        p: order of the norm; infinity for the largest magnitude. Default 2.
        eps: added to each difference. Default 1e-6.
        keepdim: whether the last axis stays, with the size 1. Default False.

    Returns:
        Array without the last axis, in the promoted dtype of the arguments.

    Raises:
        TypeError: if an array is not floating-point.
        ValueError: if the arrays do not broadcast.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.pairwise_distance(jnp.array([[3.0, 0.0]]), jnp.array([[0.0, 4.0]]), eps=0.0))
        [5.]

    PyTorch: `torch.nn.functional.pairwise_distance` and `torch.nn.PairwiseDistance`.
    """
    check_number("pairwise_distance", "p", p)
    check_number("pairwise_distance", "eps", eps)
    check_flag("pairwise_distance", "keepdim", keepdim)
    x1, x2, dtype = _pair("pairwise_distance", x1, x2)
    axis = canonical_axis("pairwise_distance", x1, -1)
    distance = _length(x1 - x2 + eps, p, axis).astype(dtype)
    return distance if keepdim else distance[..., 0]


def cosine_similarity(
    x1: Float[Array, "..."], x2: Float[Array, "..."], eps: float = 1e-8, *, axis: int = -1
) -> Float[Array, "..."]:
    """The cosines of the angles between vectors with the same index.

        y = x1 · x2 / (max(‖x1‖₂, eps) · max(‖x2‖₂, eps))

    Args:
        x1: array of one or more dimensions.
        x2: array that broadcasts with `x1`.
        eps: smallest divisor; the derivative is taken as if the norm itself were there. Default 1e-8.
        axis: axis along which the vectors lie. Default -1.

    Returns:
        Array without this axis, in the promoted dtype of the arguments, in [-1, 1] but for rounding.

    Raises:
        TypeError: if an array is not floating-point.
        ValueError: if the arrays do not broadcast, or the axis does not exist.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.cosine_similarity(jnp.array([[1.0, 0.0]]), jnp.array([[3.0, 4.0]])))
        [0.6]

    PyTorch: `torch.nn.functional.cosine_similarity` and `torch.nn.CosineSimilarity`, whose `dim` is `axis` here and is
    1 by default, as channels lie there.
    """
    check_number("cosine_similarity", "eps", eps)
    x1, x2, dtype = _pair("cosine_similarity", x1, x2)
    axis = canonical_axis("cosine_similarity", x1, axis)

    def directions(x: jax.Array) -> jax.Array:
        length = _length(x, 2.0, axis)
        return x / (length + lax.stop_gradient(jnp.where(length < eps, eps - length, 0)))

    return jnp.sum(directions(x1) * directions(x2), axis).astype(dtype)


def cdist(
    x1: Float[Array, "... rows features"], x2: Float[Array, "... columns features"], p: float = 2.0
) -> Float[Array, "... rows columns"]:
    """The distances between all vectors of one set and all vectors of another.

        y_ij = ‖x1_i - x2_j‖_p, with the derivative 0 where it is 0

    Args:
        x1: array of shape (..., P, M), P vectors.
        x2: array of shape (..., R, M), R vectors; its leading axes broadcast with the others.
        p: order of the norm, at least 0; infinity for the largest magnitude. Default 2.

    Returns:
        Array of shape (..., P, R), in the promoted dtype of the arguments.

    Raises:
        TypeError: if an array is not floating-point.
        ValueError: if the vectors have different lengths, or p is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.cdist(jnp.array([[0.0, 0.0], [3.0, 0.0]]), jnp.array([[3.0, 4.0]])))
        [[5.]
         [4.]]

    PyTorch: `torch.cdist`. From 26 vectors on it computes Euclidean distances from products of matrices, where small
    distances lose their digits; here all are norms of differences. With an infinite p, coordinates that are equally far
    apart share the derivative; in PyTorch each gets all of it.
    """
    check_number("cdist", "p", p, 0.0)
    given = as_floating("cdist", x1, "x1"), as_floating("cdist", x2, "x2")
    if any(x.ndim < 2 for x in given) or given[0].shape[-1] != given[1].shape[-1]:
        raise ValueError(
            f"cdist: expected arrays of shape (..., P, M) and (..., R, M), got {given[0].shape} and {given[1].shape}"
        )
    rows, columns, dtype = _pair("cdist", given[0][..., :, None, :], given[1][..., None, :, :])
    differences = rows - columns
    distances = _length(differences, p, rows.ndim - 1)[..., 0]
    if is_zero(p):  # A NaN is not zero, but does not count as one difference.
        distances = jnp.where(jnp.isnan(differences).any(-1), jnp.nan, distances)
    return distances.astype(dtype)


def _pair(where: str, x1: jax.Array, x2: jax.Array) -> tuple[jax.Array, jax.Array, jnp.dtype]:
    """Both arrays with one shape, in at least float32, and their promoted dtype."""
    x1, x2 = as_floating(where, x1, "x1"), as_floating(where, x2, "x2")
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(x1, x2)
    try:
        shape = jnp.broadcast_shapes(x1.shape, x2.shape)
    except ValueError:
        raise ValueError(f"{where}: expected arrays that broadcast, got {x1.shape} and {x2.shape}") from None
    wide = at_least_float32(dtype)
    return jnp.broadcast_to(x1.astype(wide), shape), jnp.broadcast_to(x2.astype(wide), shape), dtype


def _length(x: jax.Array, p: float, axis: int) -> jax.Array:
    """The norm along an axis, which keeps the size 1; elements that are 0 have the derivative 0."""
    return norm(jnp.where(x == 0, 0, x), p, (axis,))
