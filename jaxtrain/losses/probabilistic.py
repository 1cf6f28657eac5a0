"""Losses between distributions."""

import jax.numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Array, Float

from jaxtrain._checks import check_choice
from jaxtrain.losses._arguments import as_floats, check_same_shape
from jaxtrain.losses._elementwise import product_or_zero
from jaxtrain.losses._reduction import REDUCTIONS, reduce


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
