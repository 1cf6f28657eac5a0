"""Losses between distributions, and likelihoods."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from jaxtrain._ground.checks import check_choice, check_flag
from jaxtrain._ground.spread import spread
from jaxtrain.losses._arguments import as_floats, as_numbers, check_number, check_same_shape, promoted
from jaxtrain.losses._elementwise import along
from jaxtrain.losses._reduction import REDUCTIONS, check_reduction, reduce, reduce_elementwise


@jax.named_scope("kl_div")
def kl_div(
    input: Float[Array, "*shape"],
    target: Float[Array, "*shape"],
    reduction: str = "mean",
    log_target: bool = False,
) -> Float[Array, "..."]:
    """Kullback-Leibler divergence KL(target ‖ input), with `input` given as log-probabilities.

        target · (log(target) - input)
        exp(target) · (target - input)     with `log_target`

    A target probability of 0 adds 0. The reductions differ in their divisor:

    - `"batchmean"` divides by the length of the first axis: the divergence of the textbooks, averaged over the batch.
    - `"mean"` divides by the number of elements: the same, divided by the number of classes once more.
    - `"sum"` and `"none"` do not divide.

    Args:
        input: log-probabilities of any shape.
        target: probabilities of the same shape (log-probabilities with `log_target`). A negative probability gives NaN.
        reduction: `"mean"`, `"batchmean"`, `"sum"` or `"none"`. Default `"mean"`.
        log_target: whether `target` holds log-probabilities. Default False.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input`. The mean of no elements is NaN.

    Raises:
        TypeError: if an argument does not hold floats, or `log_target` is not True or False.
        ValueError: if the shapes differ, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> log_q, p = jnp.log(jnp.array([[0.5, 0.5]])), jnp.array([[0.0, 1.0]])
        >>> [round(float(losses.kl_div(log_q, p, reduction=reduction)), 6) for reduction in ("batchmean", "mean")]
        [0.693147, 0.346574]

    PyTorch: `torch.nn.functional.kl_div`; it warns about `"mean"`, broadcasts different shapes, and gives NaN where a
    target probability of 0 meets an input of -inf, or a log-target is -inf, which add 0 here.

    Source: Kullback and Leibler, "On Information and Sufficiency", 1951, https://doi.org/10.1214/aoms/1177729694
    """
    where = "kl_div"
    check_choice(where, "reduction", reduction, (*REDUCTIONS, "batchmean"))
    check_flag(where, "log_target", log_target)
    input, target = as_floats(where, "input", input), as_floats(where, "target", target)
    check_same_shape(where, input=input, target=target)
    dtype, (input, target) = promoted(input, target)
    if log_target:
        losses = _log_divergence(input, target)
    else:
        losses = jnp.where((target == 0) & (input < jnp.inf), 0, target * (jnp.log(target) - input))
    if reduction == "batchmean":
        return reduce(losses, "mean", dtype, total=input.shape[0] if input.ndim else 1)
    return reduce(losses, reduction, dtype)


@jax.custom_jvp
def _log_divergence(input: Array, target: Array) -> Array:
    is_impossible = jnp.isneginf(target) & ~jnp.isnan(input)
    return jnp.where(is_impossible, 0, jnp.exp(target) * (target - input))


def _log_divergence_jvp(primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    # An impossible target has probability 0, and so has the slope by the input: it needs no choice.
    value, probability = _log_divergence(*primals), jnp.exp(primals[1])
    return value, along((-probability, value + probability), tangents)


_log_divergence.defjvp(_log_divergence_jvp, symbolic_zeros=True)


@jax.named_scope("poisson_nll_loss")
def poisson_nll_loss(
    input: Float[Array, "*shape"],
    target: Real[Array, "*shape"],
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Negative log-likelihood of counts under a Poisson distribution.

        exp(input) - target · input
        input - target · log(input + eps)                         without `log_input`
        + target · log(target) - target + ½ · log(2π · target)    with `full`, where the target is above 1

    The last line is Stirling's approximation of log(target!).

    Args:
        input: logarithms of the rates, of any shape, or without `log_input` the rates themselves.
        target: counts of the same shape.
        log_input: whether `input` holds logarithms. Default True.
        full: whether to add the term that depends on the target alone. Default False.
        eps: keeps the logarithm of a rate of 0 finite; used without `log_input` only. Default 1e-8.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input`. The mean of no elements is NaN, and so is the loss
        of a negative rate.

    Raises:
        TypeError: if `input` does not hold floats, `eps` is not a number, or a flag is not True or False.
        ValueError: if the shapes differ, `eps` is NaN or has axes, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> float(losses.poisson_nll_loss(jnp.array([0.0]), jnp.array([5])))
        1.0
        >>> round(float(losses.poisson_nll_loss(jnp.array([4.0]), jnp.array([4]), log_input=False, full=True)), 4)
        1.6121

    PyTorch: `torch.nn.functional.poisson_nll_loss`; it broadcasts different shapes, and with `full` its gradient by a
    target of 0 or less is NaN, where here the missing term has no gradient.
    """
    where = "poisson_nll_loss"
    check_reduction(where, reduction)
    check_flag(where, "log_input", log_input)
    check_flag(where, "full", full)
    check_number(where, "eps", eps)
    input, target = as_floats(where, "input", input), as_numbers(where, "target", target)
    check_same_shape(where, input=input, target=target)
    dtype, (input, target) = promoted(input, target)
    loss = partial(_poisson_nll, log_input=log_input, full=full)
    arrays = (input, target, jnp.asarray(eps, input.dtype))
    if full:  # The slope by the target is a difference of nearly equal terms.
        return reduce_elementwise(loss, arrays, reduction, dtype)
    return reduce(loss(*arrays), reduction, dtype)


def _poisson_nll(input: Array, target: Array, eps: Array, *, log_input: bool, full: bool) -> Array:
    losses = jnp.exp(input) - target * input if log_input else input - target * jnp.log(input + eps)
    return losses + jnp.where(target > 1, _stirling(jnp.where(target > 1, target, 1)), 0) if full else losses


@jax.custom_jvp
def _stirling(count: Array) -> Array:
    """Stirling's approximation of log(count!), whose slope is written without the 1 - 1 that rounds."""
    return count * jnp.log(count) - count + 0.5 * jnp.log(2 * math.pi * count)


_stirling.defjvps(lambda tangent, _, count: (jnp.log(count) + 0.5 / count) * tangent)


@jax.named_scope("gaussian_nll_loss")
def gaussian_nll_loss(
    input: Float[Array, "*shape"],
    target: Real[Array, "..."],
    var: Float[Array, "..."] | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Negative log-likelihood of values under normal distributions.

        ½ · (log(v) + (input - target)² / v),     v = max(var, eps)
        + ½ · log(2π)                             with `full`

    The gradient by `var` ignores the maximum: it is the gradient at v, so that a variance below `eps` still changes.

    Args:
        input: means of any shape.
        target: values of a shape that broadcasts to the shape of `input`.
        var: variances: one number, or an array of the shape of `input`, of that shape without its last axis, or of that
            shape with one axis of length 1. A negative variance in an array gives NaN.
        full: whether to add the constant. Default False.
        eps: the smallest variance. Default 1e-6.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input`. The mean of no elements is NaN.

    Raises:
        TypeError: if `input` or `var` does not hold floats, `eps` is not a number, or `full` is not True or False.
        ValueError: if the shapes do not fit, a `var` that is one number is negative, `eps` is NaN or has axes, or the
            reduction is unknown.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> float(losses.gaussian_nll_loss(jnp.array([3.0]), jnp.array([1.0]), var=1.0))
        2.0
        >>> slope = jax.grad(losses.gaussian_nll_loss, argnums=2)
        >>> print(slope(jnp.array([3.0]), jnp.array([1.0]), jnp.array([0.1]), eps=0.5))
        [-7.]

    PyTorch: `torch.nn.functional.gaussian_nll_loss`; it raises where an array holds a negative variance.

    Source: Nix and Weigend, "Estimating the mean and variance of the target probability distribution", 1994,
    https://doi.org/10.1109/ICNN.1994.374138
    """
    where = "gaussian_nll_loss"
    check_reduction(where, reduction)
    check_flag(where, "full", full)
    check_number(where, "eps", eps)
    input, target = as_floats(where, "input", input), as_numbers(where, "target", target)
    if isinstance(var, float):
        check_number(where, "var", var, low=0)
        var = jnp.full_like(input, var)
    dtype, (input, target, variance) = promoted(input, target, as_floats(where, "var", var))
    target = spread(_with_axes(where, target, input.shape), input)
    variance = spread(_fitting(where, variance, input.shape), input)
    losses = _gaussian_nll(input - target, variance, jnp.asarray(eps, dtype=input.dtype))
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduce(losses, reduction, dtype)


def _with_axes(where: str, target: Array, shape: tuple[int, ...]) -> Array:
    """`target` with the axes of length 1 in front that it lacks."""
    try:
        fits = jnp.broadcast_shapes(target.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{where}: target must broadcast to the shape of input {shape}, got {target.shape}")
    return jnp.expand_dims(target, range(len(shape) - target.ndim))


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


@jax.custom_jvp
def _gaussian_nll(error: Array, variance: Array, eps: Array) -> Array:
    clamped = jnp.maximum(variance, eps)
    # The choice comes last: XLA writes one array to memory, where it would write both terms before it adds them.
    return jnp.where(variance < 0, jnp.nan, 0.5 * (jnp.log(clamped) + jnp.square(error) / clamped))


@_gaussian_nll.defjvp
def _gaussian_nll_jvp(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    error, variance, eps = primals
    clamped = _clamped(variance, eps)
    slope = error / clamped
    return _gaussian_nll(*primals), slope * tangents[0] + 0.5 * (1 / clamped - jnp.square(slope)) * tangents[1]


@jax.custom_jvp
def _clamped(variance: Array, eps: Array) -> Array:
    """The variance, at least `eps`, with slope 1 as if nothing were clamped; NaN where it is negative."""
    return jnp.where(variance < 0, jnp.nan, jnp.maximum(variance, eps))


_clamped.defjvps(lambda tangent, _, variance, eps: tangent, None)
