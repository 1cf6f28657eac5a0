"""Losses between distributions, and likelihoods."""

import math

import jax.numpy as jnp
from jax import lax
from jax.scipy.special import xlogy
from jaxtyping import Array, Float, Real

from jaxtrain._ground.checks import check_choice, check_range
from jaxtrain.losses._arguments import as_floats, check_same_shape
from jaxtrain.losses._elementwise import product_or_zero
from jaxtrain.losses._reduction import REDUCTIONS, check_reduction, reduce


def kl_div(
    input: Float[Array, "*shape"],
    target: Float[Array, "*shape"],
    reduction: str = "mean",
    log_target: bool = False,
) -> Float[Array, "..."]:
    """Kullback-Leibler divergence KL(target ‖ input), `input` given as log-probabilities.

    `target · (log(target) - input)`, or with `log_target` `exp(target) · (target - input)`; a target probability of 0
    adds 0. The reductions differ in what they divide the sum by:

    - `"batchmean"`: the length of the first axis; this is the divergence of the textbooks, averaged over the batch.
    - `"mean"`: the number of elements, so the divergence divided by the number of classes once more.
    - `"sum"`: nothing. `"none"`: the terms as they are.

    Args:
        input: log-probabilities of any shape.
        target: probabilities of the same shape (log-probabilities with `log_target`); a negative probability gives NaN.
        reduction: `"mean"`, `"batchmean"`, `"sum"` or `"none"`.
        log_target: whether `target` holds log-probabilities.

    Returns:
        A scalar, or for `"none"` an array of the shape of `input`; the mean of no elements is NaN.

    Raises:
        TypeError: an argument holds no floats.
        ValueError: the shapes differ, or the reduction is unknown.

    Example:
        >>> from jaxtrain import losses
        >>> log_q, p = jnp.log(jnp.array([[0.5, 0.5]])), jnp.array([[0.0, 1.0]])
        >>> [round(float(losses.kl_div(log_q, p, reduction=reduction)), 6) for reduction in ("batchmean", "mean")]
        [0.693147, 0.346574]

    Counterpart: `torch.nn.functional.kl_div`, which warns about `"mean"`, broadcasts different shapes, and gives NaN
    where a target probability of 0 meets an input of -inf, or a log-target is -inf (here those add 0).

    Paper: Kullback and Leibler, On Information and Sufficiency (1951), https://doi.org/10.1214/aoms/1177729694.
    """
    where = "kl_div"
    check_choice(where, "reduction", reduction, (*REDUCTIONS, "batchmean"))
    dtype, input, target = as_floats(where, input=input, target=target)
    check_same_shape(where, input=input, target=target)
    if log_target:
        is_impossible = jnp.isneginf(target) & ~jnp.isnan(input)
        losses = jnp.exp(target) * jnp.where(is_impossible, 0, target - input)
    else:
        losses = xlogy(target, target) - product_or_zero(target, input)
    if reduction == "batchmean":
        return reduce(losses, "mean", dtype, total=input.shape[0] if input.ndim else 1)
    return reduce(losses, reduction, dtype)


def poisson_nll_loss(
    input: Float[Array, "*shape"],
    target: Real[Array, "*shape"],
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Negative log-likelihood of counts under a Poisson distribution.

    `exp(input) - target · input`, or without `log_input` `input - target · log(input + eps)`. With `full` Stirling's
    approximation of log(target!) is added where the target is above 1: `target · log(target) - target +
    ½ log(2π · target)`.

    Args:
        input: logarithms of the rate of any shape, or the rates themselves without `log_input`.
        target: counts of the same shape.
        log_input: whether `input` holds logarithms.
        full: whether to add the term that depends on the target alone.
        eps: keeps the logarithm of a rate of 0 finite; it is added inside the logarithm, without `log_input` only.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        A scalar, or for `"none"` an array of the shape of `input`; the mean of no elements is NaN, and so is the loss
        of a negative rate.

    Raises:
        TypeError: `input` holds no floats.
        ValueError: the shapes differ, or the reduction is unknown.

    Example:
        >>> from jaxtrain import losses
        >>> float(losses.poisson_nll_loss(jnp.array([0.0]), jnp.array([5])))
        1.0
        >>> round(float(losses.poisson_nll_loss(jnp.array([4.0]), jnp.array([4]), log_input=False, full=True)), 4)
        1.6121

    Counterpart: `torch.nn.functional.poisson_nll_loss`, which broadcasts different shapes, and whose gradient with
    respect to a target of 0 or less is NaN with `full` (here the term that is not added has none).
    """
    where = "poisson_nll_loss"
    check_reduction(where, reduction)
    dtype, input, target = as_floats(where, integers={"target"}, input=input, target=target)
    check_same_shape(where, input=input, target=target)
    losses = jnp.exp(input) - target * input if log_input else input - target * jnp.log(input + eps)
    if full:
        above_one = jnp.where(target > 1, target, 1)
        stirling = above_one * jnp.log(above_one) - above_one + 0.5 * jnp.log(2 * math.pi * above_one)
        losses = losses + jnp.where(target > 1, stirling, 0)
    return reduce(losses, reduction, dtype)


def gaussian_nll_loss(
    input: Float[Array, "*shape"],
    target: Real[Array, "..."],
    var: Float[Array, "..."] | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Negative log-likelihood of values under normal distributions.

    `½ (log(v) + (input - target)² / v)` with `v = max(var, eps)`, and with `full` `½ log(2π)` more. The gradient with
    respect to `var` ignores the maximum: it is that at v, so that a variance below `eps` is still pushed.

    Args:
        input: means of any shape.
        target: values of the same shape, or of one that broadcasts to it.
        var: variances: of the shape of `input`, of that shape without its last axis, of that shape with one axis of
            length 1, or one number. A negative variance in an array gives NaN.
        full: whether to add the constant.
        eps: the smallest variance.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        A scalar, or for `"none"` an array of the shape of `input`; the mean of no elements is NaN.

    Raises:
        TypeError: `input` or `var` holds no floats.
        ValueError: the shapes do not fit, a `var` that is one number is negative, or the reduction is unknown.

    Example:
        >>> from jaxtrain import losses
        >>> float(losses.gaussian_nll_loss(jnp.array([3.0]), jnp.array([1.0]), var=1.0))
        2.0
        >>> import jax
        >>> slope = jax.grad(losses.gaussian_nll_loss, argnums=2)
        >>> print(slope(jnp.array([3.0]), jnp.array([1.0]), jnp.array([0.1]), eps=0.5))
        [-7.]

    Counterpart: `torch.nn.functional.gaussian_nll_loss`, which raises where an array holds a negative variance.

    Paper: Nix and Weigend, Estimating the mean and variance of the target probability distribution (1994),
    https://doi.org/10.1109/ICNN.1994.374138.
    """
    where = "gaussian_nll_loss"
    check_reduction(where, reduction)
    if isinstance(var, float):
        check_range(where, "var", var, low=0)
        var = jnp.full(jnp.shape(input), var, jnp.result_type(input))
    dtype, input, target, variance = as_floats(where, integers={"target"}, input=input, target=target, var=var)
    target = _broadcast(where, target, input.shape)
    variance = _fitting(where, variance, input.shape)
    # In both branches the slope is 1, as if nothing were clamped.
    clamped = jnp.where(variance < eps, eps + (variance - lax.stop_gradient(variance)), variance)
    clamped = clamped + jnp.where(variance < 0, jnp.nan, 0)
    losses = 0.5 * (jnp.log(clamped) + jnp.square(input - target) / clamped)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduce(losses, reduction, dtype)


def _broadcast(where: str, target: Array, shape: tuple[int, ...]) -> Array:
    try:
        return jnp.broadcast_to(target, shape)
    except ValueError:
        raise ValueError(f"{where}: target must broadcast to the shape of input {shape}, got {target.shape}") from None


def _fitting(where: str, var: Array, shape: tuple[int, ...]) -> Array:
    """`var` with the axis of length 1 that makes it broadcast to `shape`."""
    if var.shape == shape:
        return var
    if var.shape == shape[:-1]:
        return jnp.expand_dims(var, -1)
    others = [size for size, expected in zip(var.shape, shape, strict=False) if size != expected]
    if var.ndim != len(shape) or others != [1]:
        raise ValueError(
            f"{where}: var must have the shape of input {shape}, with one axis left out at the end or of length 1,"
            f" got shape {var.shape}"
        )
    return var
