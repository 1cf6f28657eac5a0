"""Losses that pull like together and push unlike apart."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from jaxtrain._ground.checks import check_range
from jaxtrain.losses._arguments import as_floats, check_same_shape
from jaxtrain.losses._elementwise import EPSILON, absolute, clamp_min
from jaxtrain.losses._reduction import check_reduction, reduce

_DISTANCE_EPS = 1e-6


def hinge_embedding_loss(
    input: Float[Array, "*shape"],
    target: Real[Array, "*shape"],
    margin: float = 1.0,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Make distances of like pairs small and those of unlike pairs larger than a margin.

    `input` where the target is 1, `max(0, margin - input)` where it is -1 (the sum of both for any other target). At
    the hinge the gradient is that of the active side, -1.

    Args:
        input: distances of pairs, of any shape.
        target: 1 for like pairs and -1 for unlike ones, of the same shape.
        margin: the distance beyond which unlike pairs cost nothing.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        A scalar, or for `"none"` an array of the shape of `input`; the mean of no elements is NaN.

    Raises:
        TypeError: `input` holds no floats.
        ValueError: the shapes differ, or the reduction is unknown.

    Example:
        >>> from jaxtrain import losses
        >>> float(losses.hinge_embedding_loss(jnp.array([0.5, 0.25]), jnp.array([1, -1])))
        0.625

    Counterpart: `torch.nn.functional.hinge_embedding_loss`, which broadcasts different shapes.
    """
    where = "hinge_embedding_loss"
    check_reduction(where, reduction)
    dtype, input, target = as_floats(where, integers={"target"}, input=input, target=target)
    check_same_shape(where, input=input, target=target)
    attraction = jnp.where(target == -1, 0, input)
    repulsion = jnp.where(target == 1, 0, clamp_min(margin - input, 0))
    return reduce(attraction + repulsion, reduction, dtype)


def cosine_embedding_loss(
    input1: Float[Array, "*batch features"],
    input2: Float[Array, "*batch features"],
    target: Real[Array, "*batch"],
    margin: float = 0,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Align vectors of like pairs and turn those of unlike pairs apart.

    `1 - cos` where the target is 1, `max(0, cos - margin)` where it is -1 (0 for any other target), with
    `cos = input1 · input2 / sqrt((|input1|² + ε) (|input2|² + ε))` and ε = 1e-12: a vector of zeros is orthogonal to
    all others. At the hinge the gradient is that of the active side.

    Args:
        input1: vectors along the last axis, one or a batch.
        input2: vectors of the same shape.
        target: 1 for like pairs and -1 for unlike ones, one each.
        margin: the cosine below which unlike pairs cost nothing; between -1 and 1 it makes sense.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        A scalar, or for `"none"` an array of the shape of `target`; the mean of no pairs is NaN.

    Raises:
        TypeError: an input holds no floats.
        ValueError: the shapes do not fit, or the reduction is unknown.

    Example:
        >>> from jaxtrain import losses
        >>> left, right = jnp.array([[3.0, 4.0], [1.0, 0.0]]), jnp.array([[4.0, 3.0], [1.0, 0.0]])
        >>> round(float(losses.cosine_embedding_loss(left, right, jnp.array([1, -1]))), 4)
        0.52

    Counterpart: `torch.nn.functional.cosine_embedding_loss`, which broadcasts different shapes.
    """
    where = "cosine_embedding_loss"
    check_reduction(where, reduction)
    dtype, input1, input2, target = as_floats(where, integers={"target"}, input1=input1, input2=input2, target=target)
    check_same_shape(where, input1=input1, input2=input2)
    if input1.ndim not in (1, 2) or target.shape != input1.shape[:-1]:
        raise ValueError(
            f"{where}: expected one vector or a batch of them, and a target for each, got inputs of shape"
            f" {input1.shape} and target of shape {target.shape}"
        )
    squared1, squared2 = (jnp.sum(jnp.square(vector), -1) + EPSILON for vector in (input1, input2))
    cosine = jnp.sum(input1 * input2, -1) / jnp.sqrt(squared1 * squared2)
    attraction = jnp.where(target == 1, 1 - cosine, 0)
    repulsion = jnp.where(target == -1, clamp_min(cosine - margin, 0), 0)
    return reduce(attraction + repulsion, reduction, dtype)


def triplet_margin_loss(
    anchor: Float[Array, "*batch features"],
    positive: Float[Array, "*batch features"],
    negative: Float[Array, "*batch features"],
    margin: float = 1.0,
    p: float = 2,
    eps: float = _DISTANCE_EPS,
    swap: bool = False,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Bring an anchor nearer to its positive than to its negative example, by a margin.

    `max(0, margin + d(anchor, positive) - d(anchor, negative))` with the distance `d(x, y) = ‖x - y + eps‖_p`: `eps`
    is added to every coordinate. With `swap` the negative distance is the smaller one of d(anchor, negative) and
    d(positive, negative). At the hinge the gradient is that of the active side, at distance 0 it is 0.

    Args:
        anchor: vectors along the last axis.
        positive: vectors of the same shape.
        negative: vectors of the same shape.
        margin: greater than 0.
        p: degree of the norm, greater than 0, infinity included.
        eps: keeps the gradient of the root finite where vectors are equal.
        swap: whether to compare with the positive example as well.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        A scalar, or for `"none"` an array of the shape of `anchor` without its last axis; the mean of no triplets
        is NaN.

    Raises:
        TypeError: an input holds no floats.
        ValueError: the shapes differ, a hyper-parameter is out of range, or the reduction is unknown.

    Example:
        >>> from jaxtrain import losses
        >>> anchor, positive, negative = jnp.array([0.0, 0.0]), jnp.array([3.0, 4.0]), jnp.array([0.0, 1.0])
        >>> round(float(losses.triplet_margin_loss(anchor, positive, negative)), 4)
        5.0

    Counterpart: `torch.nn.functional.triplet_margin_loss`, which broadcasts different shapes, and lets p ≤ 0 pass.

    Paper: Balntas et al., Learning local feature descriptors with triplets (2016), https://doi.org/10.5244/C.30.119.
    """
    where = "triplet_margin_loss"
    check_range(where, "p", p, low=0, open_low=True)
    distance = partial(_distance, p=p, eps=eps)
    return _triplet_loss(where, anchor, positive, negative, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Float[Array, "*batch features"],
    positive: Float[Array, "*batch features"],
    negative: Float[Array, "*batch features"],
    *,
    distance_function: Callable[[Array, Array], Array] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """`triplet_margin_loss` with a distance of one's own.

    `max(0, margin + d(anchor, positive) - d(anchor, negative))`. With `swap` the negative distance is the smaller one
    of d(anchor, negative) and d(positive, negative). At the hinge the gradient is that of the active side.

    Args:
        anchor: what `distance_function` takes, vectors along the last axis by default.
        positive: examples of the same shape.
        negative: examples of the same shape.
        distance_function: d, any function of two batches that gives their distances, in any shape. The default is
            the Euclidean distance `‖x - y + 1e-6‖`.
        margin: greater than 0.
        swap: whether to compare with the positive example as well.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        A scalar, or for `"none"` an array of the shape of the distances.

    Raises:
        TypeError: an input holds no floats.
        ValueError: the shapes differ, `margin` is not positive, or the reduction is unknown.

    Example:
        >>> from jaxtrain import losses
        >>> def manhattan(x, y):
        ...     return jnp.sum(jnp.abs(x - y), axis=-1)
        >>> anchor, positive, negative = jnp.array([0.0, 0.0]), jnp.array([3.0, 4.0]), jnp.array([0.0, 1.0])
        >>> float(losses.triplet_margin_with_distance_loss(anchor, positive, negative, distance_function=manhattan))
        7.0

    Counterpart: `torch.nn.functional.triplet_margin_with_distance_loss`, which broadcasts different shapes.

    Paper: Balntas et al., Learning local feature descriptors with triplets (2016), https://doi.org/10.5244/C.30.119.
    """
    where = "triplet_margin_with_distance_loss"
    distance = partial(_distance, p=2, eps=_DISTANCE_EPS) if distance_function is None else distance_function
    return _triplet_loss(where, anchor, positive, negative, distance, margin, swap, reduction)


def _triplet_loss(
    where: str,
    anchor: Array,
    positive: Array,
    negative: Array,
    distance: Callable[[Array, Array], Array],
    margin: float,
    swap: bool,
    reduction: str,
) -> Array:
    check_reduction(where, reduction)
    check_range(where, "margin", margin, low=0, open_low=True)
    dtype, anchor, positive, negative = as_floats(where, anchor=anchor, positive=positive, negative=negative)
    check_same_shape(where, anchor=anchor, positive=positive, negative=negative)
    if not anchor.ndim:
        raise ValueError(f"{where}: expected vectors along the last axis, got scalars")
    far = distance(anchor, negative)
    if swap:
        far = jnp.minimum(far, distance(positive, negative))
    return reduce(clamp_min(margin + distance(anchor, positive) - far, 0), reduction, dtype)


def _distance(x: Array, y: Array, p: float, eps: float) -> Array:
    return _norm(x - y + eps, p)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _norm(x: Array, p: float) -> Array:
    """‖x‖_p along the last axis, with gradient 0 at 0."""
    if p == math.inf:
        return jnp.max(absolute(x), -1)
    if p == 2:
        return jnp.sqrt(jnp.sum(jnp.square(x), -1))
    return jnp.sum(jnp.abs(x) ** p, -1) ** (1 / p)


@_norm.defjvp
def _norm_jvp(p: float, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (x_dot,) = primals, tangents
    norm = _norm(x, p)
    if p == math.inf:
        is_largest = jnp.abs(x) == norm[..., None]
        slope = jnp.sign(x) * is_largest / jnp.sum(is_largest, -1, keepdims=True)
    else:
        size = jnp.where(x == 0, 1, jnp.abs(x))
        norms = jnp.where(norm == 0, 1, norm)[..., None]
        # A positive exponent, because XLA rounds negative powers less well.
        slope = jnp.sign(x) * (size / norms if p >= 1 else norms / size) ** abs(p - 1)
    return norm, jnp.sum(slope * x_dot, -1)
