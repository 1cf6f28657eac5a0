"""Losses of pairs and triplets of vectors: like ones are drawn together, unlike ones pushed apart."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from jaxtrain._ground.checks import check_flag
from jaxtrain.losses._arguments import as_floats, as_numbers, check_number, check_same_shape, promoted
from jaxtrain.losses._elementwise import EPSILON, absolute, hinge
from jaxtrain.losses._reduction import check_reduction, reduce

_DISTANCE_EPS = 1e-6


@jax.named_scope("hinge_embedding_loss")
def hinge_embedding_loss(
    input: Float[Array, "*shape"],
    target: Real[Array, "*shape"],
    margin: float = 1.0,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Make the distances of like pairs small, and the distances of unlike pairs larger than a margin.

        input                     where the target is 1
        max(0, margin - input)    where the target is -1
        the sum of both           for any other target

    At the hinge the gradient comes from the active side: it is -1.

    Args:
        input: distances of pairs, of any shape.
        target: 1 for like pairs and -1 for unlike ones, of the same shape.
        margin: the distance beyond which unlike pairs cost nothing. Default 1.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input`. The mean of no elements is NaN.

    Raises:
        TypeError: if `input` does not hold floats, or `margin` is not a number.
        ValueError: if the shapes differ, `margin` is NaN or has axes, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> float(losses.hinge_embedding_loss(jnp.array([0.5, 0.25]), jnp.array([1, -1])))
        0.625

    PyTorch: `torch.nn.functional.hinge_embedding_loss`; it broadcasts different shapes.
    """
    where = "hinge_embedding_loss"
    check_reduction(where, reduction)
    check_number(where, "margin", margin)
    input, target = as_floats(where, "input", input), as_numbers(where, "target", target)
    check_same_shape(where, input=input, target=target)
    dtype, (input, target) = promoted(input, target)
    repulsion = hinge(margin - input)
    # One nested selection: XLA would write two separate terms to memory before it adds them.
    losses = jnp.where(target == 1, input, jnp.where(target == -1, repulsion, input + repulsion))
    return reduce(losses, reduction, dtype)


@jax.named_scope("cosine_embedding_loss")
def cosine_embedding_loss(
    input1: Float[Array, "*batch features"],
    input2: Float[Array, "*batch features"],
    target: Real[Array, "*batch"],
    margin: float = 0,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Align the vectors of like pairs, and turn the vectors of unlike pairs away from each other.

        cos = input1 · input2 / √((|input1|² + ε) (|input2|² + ε)),     ε = 1e-12
        1 - cos                   where the target is 1
        max(0, cos - margin)      where the target is -1
        0                         for any other target

    A vector of zeros is orthogonal to all others. At the hinge the gradient comes from the active side.

    Args:
        input1: vectors along the last axis, one or a batch.
        input2: vectors of the same shape.
        target: 1 for like pairs and -1 for unlike ones, one for each pair.
        margin: the cosine below which unlike pairs cost nothing; useful between -1 and 1. Default 0.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.

    Returns:
        A scalar, or with `"none"` an array of the shape of `target`. The mean of no pairs is NaN.

    Raises:
        TypeError: if `input1` or `input2` does not hold floats, or `margin` is not a number.
        ValueError: if the shapes do not fit, `margin` is NaN or has axes, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> left, right = jnp.array([[3.0, 4.0], [1.0, 0.0]]), jnp.array([[4.0, 3.0], [1.0, 0.0]])
        >>> round(float(losses.cosine_embedding_loss(left, right, jnp.array([1, -1]))), 4)
        0.52

    PyTorch: `torch.nn.functional.cosine_embedding_loss`; it broadcasts different shapes.
    """
    where = "cosine_embedding_loss"
    check_reduction(where, reduction)
    check_number(where, "margin", margin)
    input1, input2 = as_floats(where, "input1", input1), as_floats(where, "input2", input2)
    target = as_numbers(where, "target", target)
    check_same_shape(where, input1=input1, input2=input2)
    if input1.ndim not in (1, 2) or target.shape != input1.shape[:-1]:
        raise ValueError(
            f"{where}: expected one vector or a batch of them, and a target for each, got inputs of shape"
            f" {input1.shape} and target of shape {target.shape}"
        )
    dtype, (input1, input2, target) = promoted(input1, input2, target)
    squared1, squared2 = (jnp.sum(jnp.square(vector), -1) + EPSILON for vector in (input1, input2))
    cosine = jnp.sum(input1 * input2, -1) / jnp.sqrt(squared1 * squared2)
    losses = jnp.where(target == 1, 1 - cosine, jnp.where(target == -1, hinge(cosine - margin), 0))
    return reduce(losses, reduction, dtype)


@jax.named_scope("triplet_margin_loss")
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

        max(0, margin + d(anchor, positive) - d(anchor, negative)),     d(x, y) = ‖x - y + eps‖_p

    `eps` is added to every coordinate. With `swap` the negative distance is the smaller one of d(anchor, negative) and
    d(positive, negative). At the hinge the gradient comes from the active side; at distance 0 it is 0.

    Args:
        anchor: vectors along the last axis.
        positive: vectors of the same shape.
        negative: vectors of the same shape.
        margin: greater than 0. Default 1.
        p: degree of the norm, greater than 0; may be infinity. Default 2.
        eps: keeps the gradient of the root finite where vectors are equal. Default 1e-6.
        swap: whether to compare with the positive example as well. Default False.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.

    Returns:
        A scalar, or with `"none"` an array of the shape of `anchor` without its last axis. The mean of no triplets is
        NaN.

    Raises:
        TypeError: if an input does not hold floats, a hyper-parameter is not a number, or `swap` is not True or False.
        ValueError: if the shapes differ, a hyper-parameter is out of range or has axes, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> anchor, positive, negative = jnp.array([0.0, 0.0]), jnp.array([3.0, 4.0]), jnp.array([0.0, 1.0])
        >>> round(float(losses.triplet_margin_loss(anchor, positive, negative)), 4)
        5.0

    PyTorch: `torch.nn.functional.triplet_margin_loss`; it broadcasts different shapes, and accepts p ≤ 0.

    Source: Balntas et al., "Learning local feature descriptors with triplets and shallow convolutional neural
    networks", 2016, https://doi.org/10.5244/C.30.119
    """
    where = "triplet_margin_loss"
    check_number(where, "p", p, low=0, open_low=True)
    check_number(where, "eps", eps)
    distance = partial(_distance, p=p, eps=eps)
    return _triplet_loss(where, anchor, positive, negative, distance, margin, swap, reduction)


@jax.named_scope("triplet_margin_with_distance_loss")
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
    """`triplet_margin_loss` with your own distance.

        max(0, margin + d(anchor, positive) - d(anchor, negative))

    With `swap` the negative distance is the smaller one of d(anchor, negative) and d(positive, negative). At the hinge
    the gradient comes from the active side.

    Args:
        anchor: what `distance_function` takes; by default vectors along the last axis.
        positive: examples of the same shape.
        negative: examples of the same shape.
        distance_function: d, any function of two batches that returns their distances, in any shape. Default the
            Euclidean distance `‖x - y + 1e-6‖`.
        margin: greater than 0. Default 1.
        swap: whether to compare with the positive example as well. Default False.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.

    Returns:
        A scalar, or with `"none"` an array of the shape of the distances.

    Raises:
        TypeError: if an input does not hold floats, `margin` is not a number, or `swap` is not True or False.
        ValueError: if the shapes differ, `margin` is not positive or has axes, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> def manhattan(x, y):
        ...     return jnp.sum(jnp.abs(x - y), axis=-1)
        >>> anchor, positive, negative = jnp.array([0.0, 0.0]), jnp.array([3.0, 4.0]), jnp.array([0.0, 1.0])
        >>> float(losses.triplet_margin_with_distance_loss(anchor, positive, negative, distance_function=manhattan))
        7.0

    PyTorch: `torch.nn.functional.triplet_margin_with_distance_loss`; it broadcasts different shapes.

    Source: Balntas et al., "Learning local feature descriptors with triplets and shallow convolutional neural
    networks", 2016, https://doi.org/10.5244/C.30.119
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
    check_number(where, "margin", margin, low=0, open_low=True)
    check_flag(where, "swap", swap)
    anchor, positive = as_floats(where, "anchor", anchor), as_floats(where, "positive", positive)
    negative = as_floats(where, "negative", negative)
    check_same_shape(where, anchor=anchor, positive=positive, negative=negative)
    dtype, (anchor, positive, negative) = promoted(anchor, positive, negative)
    if not anchor.ndim:
        raise ValueError(f"{where}: expected vectors along the last axis, got scalars")
    far = distance(anchor, negative)
    if swap:
        far = jnp.minimum(far, distance(positive, negative))
    return reduce(hinge(margin + distance(anchor, positive) - far), reduction, dtype)


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
    if p == 2:
        slope = x / jnp.where(norm == 0, 1, norm)[..., None]
    elif p == math.inf:
        is_largest = (jnp.abs(x) == norm[..., None]).astype(x.dtype)
        slope = jnp.sign(x) * is_largest / jnp.sum(is_largest, -1, keepdims=True)
    else:
        size = jnp.where(x == 0, 1, jnp.abs(x))
        norms = jnp.where(norm == 0, 1, norm)[..., None]
        # A positive exponent, because XLA is less accurate for negative powers.
        slope = jnp.sign(x) * (size / norms if p >= 1 else norms / size) ** abs(p - 1)
    return norm, jnp.sum(slope * x_dot, -1)
