"""Losses between real values."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from jaxtrain.losses._arguments import as_floats, as_numbers, check_number, check_same_shape, promoted
from jaxtrain.losses._elementwise import absolute, root
from jaxtrain.losses._reduction import check_reduction, reduce


@jax.named_scope("mse_loss")
def mse_loss(
    input: Float[Array, "*shape"],
    target: Real[Array, "*shape"],
    reduction: str = "mean",
    weight: Float[Array, "*shape"] | None = None,
) -> Float[Array, "..."]:
    """Mean squared error.

        (input - target)²

    With weights, `"mean"` is `Σ weight · (input - target)² / Σ weight`.

    Args:
        input: predictions of any shape.
        target: true values of the same shape.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.
        weight: weights of the same shape. Default all 1.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input`. The mean of no elements is NaN.

    Raises:
        TypeError: if `input` or `weight` does not hold floats.
        ValueError: if the shapes differ, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> float(losses.mse_loss(jnp.array([1.0, 4.0]), jnp.array([0.0, 2.0])))
        2.5

    PyTorch: `torch.nn.functional.mse_loss`; it broadcasts different shapes with a warning.
    """
    dtype, (input, target, weight) = _checked("mse_loss", input, target, reduction, weight)
    return _weighted(jnp.square(input - target), weight, reduction, dtype)


@jax.named_scope("rmse_loss")
def rmse_loss(
    input: Float[Array, "*shape"],
    target: Real[Array, "*shape"],
    reduction: str = "mean",
    weight: Float[Array, "*shape"] | None = None,
) -> Float[Array, "..."]:
    """Root of the mean squared error, with gradient 0 where the error is 0.

        √mse_loss(input, target, reduction, weight)

    No ε is added, so the value is exact. At zero error, where the slope of the root is infinite, the gradient is the
    subgradient 0 instead of NaN.

    Args:
        input: predictions of any shape.
        target: true values of the same shape.
        reduction: `"mean"`, `"sum"` (the Euclidean norm of the error) or `"none"` (its absolute value). Default
            `"mean"`.
        weight: weights of the same shape. Default all 1.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input`. The mean of no elements is NaN.

    Raises:
        TypeError: if `input` or `weight` does not hold floats.
        ValueError: if the shapes differ, or the reduction is unknown.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> float(losses.rmse_loss(jnp.array([3.0, -1.0]), jnp.array([0.0, 0.0]), reduction="sum") ** 2)
        10.0
        >>> jax.grad(losses.rmse_loss)(jnp.array([7.0, 7.0]), jnp.array([7.0, 7.0])).tolist()
        [0.0, 0.0]

    PyTorch: none by this name; `torch.sqrt(torch.nn.functional.mse_loss(...))`, whose gradient at zero error is NaN.
    """
    dtype, (input, target, weight) = _checked("rmse_loss", input, target, reduction, weight)
    return root(_weighted(jnp.square(input - target), weight, reduction, input.dtype)).astype(dtype)


@jax.named_scope("l1_loss")
def l1_loss(
    input: Float[Array, "*shape"],
    target: Real[Array, "*shape"],
    reduction: str = "mean",
    weight: Float[Array, "*shape"] | None = None,
) -> Float[Array, "..."]:
    """Mean absolute error, with gradient 0 where the error is 0.

        |input - target|

    With weights, `"mean"` is `Σ weight · |input - target| / Σ weight`.

    Args:
        input: predictions of any shape.
        target: true values of the same shape.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.
        weight: weights of the same shape. Default all 1.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input`. The mean of no elements is NaN.

    Raises:
        TypeError: if `input` or `weight` does not hold floats.
        ValueError: if the shapes differ, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> float(losses.l1_loss(jnp.array([1.0, 4.0]), jnp.array([0.0, 2.0]), weight=jnp.array([3.0, 1.0])))
        1.25

    PyTorch: `torch.nn.functional.l1_loss`; it broadcasts different shapes with a warning.
    """
    dtype, (input, target, weight) = _checked("l1_loss", input, target, reduction, weight)
    return _weighted(absolute(input - target), weight, reduction, dtype)


@jax.named_scope("smooth_l1_loss")
def smooth_l1_loss(
    input: Float[Array, "*shape"],
    target: Real[Array, "*shape"],
    reduction: str = "mean",
    beta: float = 1.0,
) -> Float[Array, "..."]:
    """Absolute error, made quadratic below `beta`.

        ½ · (input - target)² / β     where |input - target| < β
        |input - target| - ½ · β      elsewhere

    This is `huber_loss` with `delta = beta`, divided by `beta`: its slope far out is 1, whatever `beta` is.

    Args:
        input: predictions of any shape.
        target: true values of the same shape.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.
        beta: β, where the two pieces meet, at least 0; with 0 this is `l1_loss`. Default 1.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input`. The mean of no elements is NaN.

    Raises:
        TypeError: if `input` does not hold floats, or `beta` is not a number.
        ValueError: if the shapes differ, `beta` is negative, NaN or has axes, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> losses.smooth_l1_loss(jnp.array([1.0, 4.0]), jnp.array([0.0, 0.0]), reduction="none", beta=2.0).tolist()
        [0.25, 3.0]

    PyTorch: `torch.nn.functional.smooth_l1_loss`; it broadcasts different shapes with a warning.

    Source: Girshick, "Fast R-CNN", 2015, https://arxiv.org/abs/1504.08083
    """
    check_number("smooth_l1_loss", "beta", beta, low=0)
    dtype, (input, target, _) = _checked("smooth_l1_loss", input, target, reduction)
    error = input - target
    is_small = ~(absolute(error) >= beta)  # NaN counts as small, for its gradient is NaN there.
    quadratic = 0.5 * jnp.square(jnp.where(is_small, error, 0)) / jnp.where(is_small, beta, 1)
    return reduce(jnp.where(is_small, quadratic, absolute(error) - 0.5 * beta), reduction, dtype)


@jax.named_scope("huber_loss")
def huber_loss(
    input: Float[Array, "*shape"],
    target: Real[Array, "*shape"],
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Float[Array, "*shape"] | None = None,
) -> Float[Array, "..."]:
    """Squared error (halved), made linear above `delta`.

        ½ · (input - target)²               where |input - target| ≤ δ
        δ · (|input - target| - ½ · δ)      elsewhere

    Args:
        input: predictions of any shape.
        target: true values of the same shape.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.
        delta: δ, where the two pieces meet, greater than 0. Default 1.
        weight: weights of the same shape; unlike in `mse_loss`, `"mean"` divides by the number of elements. Default
            all 1.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input`. The mean of no elements is NaN.

    Raises:
        TypeError: if `input` or `weight` does not hold floats, or `delta` is not a number.
        ValueError: if the shapes differ, `delta` is not positive or has axes, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> losses.huber_loss(jnp.array([1.0, 4.0]), jnp.array([0.0, 0.0]), reduction="none", delta=2.0).tolist()
        [0.5, 6.0]

    PyTorch: `torch.nn.functional.huber_loss`; it broadcasts different shapes with a warning.

    Source: Huber, "Robust Estimation of a Location Parameter", 1964, https://doi.org/10.1214/aoms/1177703732
    """
    check_number("huber_loss", "delta", delta, low=0, open_low=True)
    dtype, (input, target, weight) = _checked("huber_loss", input, target, reduction, weight)
    error = input - target
    is_small = ~(absolute(error) > delta)  # NaN counts as small, for its gradient is NaN there.
    # Each piece sees only its own errors: an infinite error or delta cannot put a NaN in the gradient of the other.
    quadratic = 0.5 * jnp.square(jnp.where(is_small, error, 0))
    linear = delta * (absolute(jnp.where(is_small, 0, error)) - 0.5 * delta)
    losses = jnp.where(is_small, quadratic, linear)
    return reduce(losses if weight is None else weight * losses, reduction, dtype)


def _checked(
    where: str, input: Array, target: Array, reduction: str, weight: Array | None = None
) -> tuple[np.dtype, list[Any]]:
    """The dtype of the result; `input`, `target` and `weight` checked, in the dtype of the computation."""
    check_reduction(where, reduction)
    input, target = as_floats(where, "input", input), as_numbers(where, "target", target)
    weight = None if weight is None else as_floats(where, "weight", weight)
    check_same_shape(where, input=input, target=target, weight=weight)
    return promoted(input, target, weight)


def _weighted(losses: Array, weight: Array | None, reduction: str, dtype: np.dtype) -> Array:
    """Reduce with weights: the mean is over the weight, not over the elements."""
    if weight is None:
        return reduce(losses, reduction, dtype)
    return reduce(weight * losses, reduction, dtype, total=weight)
