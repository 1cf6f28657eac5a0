"""Losses of independent yes-or-no decisions."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxtrain.losses._arguments import as_coefficients, as_floats, check_same_shape, promoted
from jaxtrain.losses._elementwise import EPSILON, along, logistic_entropy
from jaxtrain.losses._reduction import check_reduction, reduce_elementwise

_LOG_FLOOR = -100.0


@jax.named_scope("binary_cross_entropy")
def binary_cross_entropy(
    input: Float[Array, "*shape"],
    target: Float[Array, "*shape"],
    weight: Float[Array, "..."] | None = None,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy between probabilities and targets in [0, 1].

        weight · -(target · log(input) + (1 - target) · log(1 - input)),     both logarithms at least -100

    The gradient by `input` is `weight · (input - target) / max(input · (1 - input), 1e-12)`: it does not vanish where a
    logarithm is at its floor, but is huge there. If you have logits, `binary_cross_entropy_with_logits` is more
    accurate and safer.

    Args:
        input: probabilities of any shape. One outside [0, 1] makes loss and gradient NaN.
        target: probabilities of the same shape. One outside [0, 1] makes loss and gradient NaN.
        weight: weights that broadcast to that shape. Default all 1.
        reduction: `"mean"` (over the number of elements, weighted or not), `"sum"` or `"none"`. Default `"mean"`.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input`. The mean of no elements is NaN.

    Raises:
        TypeError: if an argument does not hold floats.
        ValueError: if the shapes do not fit, or the reduction is unknown.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> float(losses.binary_cross_entropy(jnp.array([1.0, 0.0]), jnp.array([1.0, 1.0])))
        50.0
        >>> round(float(jax.grad(losses.binary_cross_entropy)(0.2, 1.0)), 5)
        -5.0

    PyTorch: `torch.nn.functional.binary_cross_entropy`; it raises where a probability is outside [0, 1].
    """
    where = "binary_cross_entropy"
    check_reduction(where, reduction)
    input, target = as_floats(where, "input", input), as_floats(where, "target", target)
    check_same_shape(where, input=input, target=target)
    dtype, (input, target) = promoted(input, target)
    if weight is not None:
        weight = as_coefficients(where, "weight", weight, like=input)
    return reduce_elementwise(_weighted_binary_entropy, (input, target, weight), reduction, dtype)


@jax.named_scope("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    input: Float[Array, "*shape"],
    target: Float[Array, "*shape"],
    weight: Float[Array, "..."] | None = None,
    reduction: str = "mean",
    pos_weight: Float[Array, "..."] | None = None,
) -> Float[Array, "..."]:
    """Cross-entropy between logits and targets in [0, 1], finite for every finite logit.

        weight · (pos_weight · target · softplus(-input) + (1 - target) · softplus(input))

    Args:
        input: logits of any shape.
        target: probabilities of the same shape.
        weight: weights that broadcast to that shape. Default all 1.
        reduction: `"mean"` (over the number of elements, weighted or not), `"sum"` or `"none"`. Default `"mean"`.
        pos_weight: weights of the positive part that broadcast to that shape: above 1 they raise recall, below 1
            precision. One for each class goes along the last axis. Default all 1.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input`. The mean of no elements is NaN.

    Raises:
        TypeError: if an argument does not hold floats.
        ValueError: if the shapes do not fit, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> logits, targets = jnp.array([0.0, 200.0]), jnp.array([1.0, 0.0])
        >>> losses.binary_cross_entropy_with_logits(logits, targets, reduction="none", pos_weight=2.0).tolist()
        [1.3862943649291992, 200.0]

    PyTorch: `torch.nn.functional.binary_cross_entropy_with_logits`; for very negative logits with target 0 it subtracts
    two large terms and gives 0 in float32, where the small loss is kept here (at -50: 1.9e-22).
    """
    where = "binary_cross_entropy_with_logits"
    check_reduction(where, reduction)
    input, target = as_floats(where, "input", input), as_floats(where, "target", target)
    check_same_shape(where, input=input, target=target)
    dtype, (input, target) = promoted(input, target)
    if pos_weight is not None:
        pos_weight = as_coefficients(where, "pos_weight", pos_weight, like=input)
    if weight is not None:
        weight = as_coefficients(where, "weight", weight, like=input)
    return reduce_elementwise(_weighted_logistic_entropy, (input, target, pos_weight, weight), reduction, dtype)


def _weighted_binary_entropy(input: Array, target: Array, weight: Array | None) -> Array:
    losses = _binary_entropy(input, target)
    return losses if weight is None else weight * losses


def _weighted_logistic_entropy(input: Array, target: Array, pos_weight: Array | None, weight: Array | None) -> Array:
    losses = logistic_entropy(input, target, pos_weight)
    return losses if weight is None else weight * losses


@jax.custom_jvp
def _binary_entropy(input: Array, target: Array) -> Array:
    # The logarithms make NaN of an input outside [0, 1] by themselves.
    target = jnp.where((target >= 0) & (target <= 1), target, jnp.nan)
    log_input = jnp.maximum(jnp.log(input), _LOG_FLOOR)
    log_rest = jnp.maximum(jnp.log1p(-input), _LOG_FLOOR)
    return (target - 1) * log_rest - target * log_input


def _binary_entropy_jvp(primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    input, target = primals
    variance = input * (1 - input)
    is_probable = (variance >= 0) & (target >= 0) & (target <= 1)
    # The choice comes last: XLA's CPU compiler would write a quotient to memory before it divides by the count.
    by_input = jnp.where(is_probable, (input - target) / jnp.maximum(variance, EPSILON), jnp.nan)
    by_target = jnp.where(is_probable, jnp.log((1 - input) / input), jnp.nan)
    return _binary_entropy(input, target), along((by_input, by_target), tangents)


_binary_entropy.defjvp(_binary_entropy_jvp, symbolic_zeros=True)
