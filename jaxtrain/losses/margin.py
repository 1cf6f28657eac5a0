"""Losses with a margin: rankings, and classes one or many."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Real

from jaxtrain._ground.checks import check_choice
from jaxtrain.losses._arguments import (
    as_class_weight,
    as_classes,
    as_coefficients,
    as_floats,
    check_same_shape,
)
from jaxtrain.losses._elementwise import clamp_min, logistic_entropy, softplus
from jaxtrain.losses._reduction import check_reduction, reduce


def margin_ranking_loss(
    input1: Float[Array, "*shape"],
    input2: Float[Array, "*shape"],
    target: Real[Array, "*shape"],
    margin: float = 0,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Rank one input above the other, by a margin.

    `max(0, -target · (input1 - input2) + margin)`. At the hinge the gradient is that of the active side.

    Args:
        input1: scores of any shape.
        input2: scores of the same shape.
        target: 1 where `input1` should be the larger one and -1 where it should not, of the same shape.
        margin: how much larger.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        A scalar, or for `"none"` an array of the shape of `input1`; the mean of no elements is NaN.

    Raises:
        TypeError: an input holds no floats.
        ValueError: the shapes differ, or the reduction is unknown.

    Example:
        >>> from jaxtrain import losses
        >>> print(losses.margin_ranking_loss(*jnp.array([[2.0, 3.0], [1.0, 7.0]]), jnp.array([1, 1]), reduction="none"))
        [0. 4.]

    Counterpart: `torch.nn.functional.margin_ranking_loss`, which broadcasts different shapes.
    """
    where = "margin_ranking_loss"
    check_reduction(where, reduction)
    dtype, input1, input2, target = as_floats(where, integers={"target"}, input1=input1, input2=input2, target=target)
    check_same_shape(where, input1=input1, input2=input2, target=target)
    return reduce(clamp_min(-target * (input1 - input2) + margin, 0), reduction, dtype)


def soft_margin_loss(
    input: Float[Array, "*shape"], target: Real[Array, "*shape"], reduction: str = "mean"
) -> Float[Array, "..."]:
    """Logistic loss of a sign.

    `log(1 + exp(-target · input))`, finite for every finite input.

    Args:
        input: logits of any shape.
        target: 1 or -1, of the same shape.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        A scalar, or for `"none"` an array of the shape of `input`; the mean of no elements is NaN.

    Raises:
        TypeError: `input` holds no floats.
        ValueError: the shapes differ, or the reduction is unknown.

    Example:
        >>> from jaxtrain import losses
        >>> float(losses.soft_margin_loss(jnp.array([-100.0]), jnp.array([1])))
        100.0

    Counterpart: `torch.nn.functional.soft_margin_loss`, which broadcasts different shapes, and in float32 overflows
    where `-target · input` is above 88: the example is infinite there, with gradient NaN.
    """
    where = "soft_margin_loss"
    check_reduction(where, reduction)
    dtype, input, target = as_floats(where, integers={"target"}, input=input, target=target)
    check_same_shape(where, input=input, target=target)
    return reduce(softplus(-target * input), reduction, dtype)


def multi_margin_loss(
    input: Float[Array, "*batch classes"],
    target: Int[Array, "*batch"],
    p: int = 1,
    margin: float = 1.0,
    weight: Float[Array, " classes"] | None = None,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Hinge loss of a choice among classes.

    `weight[y] / C · Σ_{c ≠ y} max(0, margin - input[y] + input[c])^p`. At the hinge the gradient is 0.

    Args:
        input: scores, one for each of C classes along the last axis, of one example or a batch.
        target: classes y, of the shape of `input` without the last axis. One outside `[0, C)` makes loss and gradient
            NaN.
        p: 1 or 2.
        margin: by how much the score of the right class should be the largest.
        weight: a weight for each class.
        reduction: `"mean"` (over the number of examples, weighted or not), `"sum"` or `"none"`.

    Returns:
        A scalar, or for `"none"` an array of the shape of `target`; the mean of no examples is NaN.

    Raises:
        TypeError: `input` or `weight` holds no floats, or `target` no classes.
        ValueError: the shapes do not fit, `p` is neither 1 nor 2, or the reduction is unknown.

    Example:
        >>> from jaxtrain import losses
        >>> float(losses.multi_margin_loss(jnp.array([0.0, 0.5, 2.0, 0.75]), 3, p=2))
        1.421875

    Counterpart: `torch.nn.functional.multi_margin_loss`, which raises for a class out of range, and gives 0 as the
    mean of no examples.

    Paper: Weston and Watkins, Support vector machines for multi-class pattern recognition (1999), ESANN.
    """
    where = "multi_margin_loss"
    check_reduction(where, reduction)
    check_choice(where, "p", p, (1, 2))
    dtype, input = as_floats(where, input=input)
    _check_examples(where, input)
    target = as_classes(where, "target", target)
    classes = input.shape[-1]
    if target.shape != input.shape[:-1]:
        raise ValueError(f"{where}: expected a class for each example, of shape {input.shape[:-1]}, got {target.shape}")

    is_target = target[..., None] == jnp.arange(classes)
    target_score = jnp.sum(jnp.where(is_target, input, 0), -1, keepdims=True)
    # The strict comparison in relu gives the hinge itself to the inactive side.
    excess = jnp.where(is_target, 0, jax.nn.relu(margin - target_score + input))
    losses = jnp.sum(excess if p == 1 else jnp.square(excess), -1)
    weight = as_class_weight(where, weight, classes, input.dtype)
    if weight is not None:
        losses = jnp.sum(jnp.where(is_target, weight, 0), -1) * losses
    is_class = (target >= 0) & (target < classes)
    return reduce(losses * jnp.where(is_class, 1, jnp.nan), reduction, dtype, share=classes)


def multilabel_margin_loss(
    input: Float[Array, "*batch classes"], target: Int[Array, "*batch classes"], reduction: str = "mean"
) -> Float[Array, "..."]:
    """Hinge loss of several classes at once, given as a list.

    `1 / C · Σ_j Σ_i max(0, 1 - input[target[j]] + input[i])`, where j runs over the targets in front of the first -1,
    and i over the classes that are not among these. At the hinge the gradient is 0.

    Args:
        input: scores, one for each of C classes along the last axis, of one example or a batch.
        target: of the same shape: the classes of each example, then -1, then anything from -1 to C - 1. Any other
            number makes loss and gradient NaN.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        A scalar, or for `"none"` an array of the shape of `input` without its last axis; the mean of no examples is
        NaN.

    Raises:
        TypeError: `input` holds no floats, or `target` no classes.
        ValueError: the shapes do not fit, or the reduction is unknown.

    Example:
        >>> from jaxtrain import losses
        >>> scores, labels = jnp.array([0.125, 0.25, 0.5, 0.75]), jnp.array([3, 0, -1, 1])
        >>> float(losses.multilabel_margin_loss(scores, labels))
        0.9375

    Counterpart: `torch.nn.functional.multilabel_margin_loss`, which raises for a class out of range, and gives 0 as
    the mean of no examples.
    """
    where = "multilabel_margin_loss"
    check_reduction(where, reduction)
    dtype, input = as_floats(where, input=input)
    _check_examples(where, input)
    target = as_classes(where, "target", target)
    if target.shape != input.shape:
        raise ValueError(f"{where}: target must have the shape of input {input.shape}, got {target.shape}")

    classes = input.shape[-1]
    is_listed = jnp.cumsum(target == -1, -1) == 0
    # Axes of what follows: batch, position in the list, class.
    is_label = is_listed[..., None] & (target[..., None] == jnp.arange(classes))
    is_other = ~jnp.any(is_label, -2, keepdims=True)
    label_score = jnp.sum(jnp.where(is_label, input[..., None, :], 0), -1, keepdims=True)
    # The strict comparison in relu gives the hinge itself to the inactive side.
    excess = jax.nn.relu(1 - label_score + input[..., None, :])
    losses = jnp.sum(jnp.where(is_listed[..., None] & is_other, excess, 0), (-2, -1))
    is_valid = jnp.all((target >= -1) & (target < classes), -1)
    return reduce(losses * jnp.where(is_valid, 1, jnp.nan), reduction, dtype, share=classes)


def multilabel_soft_margin_loss(
    input: Float[Array, "*batch classes"],
    target: Real[Array, "*batch classes"],
    weight: Float[Array, "..."] | None = None,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Logistic loss of several classes at once, given as indicators.

    `1 / C · Σ_c weight[c] · (target[c] · softplus(-input[c]) + (1 - target[c]) · softplus(input[c]))`: for each
    example the mean of `binary_cross_entropy_with_logits` over the classes.

    Args:
        input: logits, one for each of C classes along the last axis.
        target: 1 for the classes of an example and 0 for the others, of the same shape.
        weight: weights that broadcast to that shape, such as one for each class.
        reduction: `"mean"` (over the number of examples, weighted or not), `"sum"` or `"none"`.

    Returns:
        A scalar, or for `"none"` an array of the shape of `input` without its last axis; the mean of no examples is
        NaN.

    Raises:
        TypeError: `input` or `weight` holds no floats.
        ValueError: the shapes do not fit, or the reduction is unknown.

    Example:
        >>> from jaxtrain import losses
        >>> float(losses.multilabel_soft_margin_loss(jnp.array([-20.0, -2000.0]), jnp.array([1, 0])))
        10.0

    Counterpart: `torch.nn.functional.multilabel_soft_margin_loss`, which broadcasts different shapes.
    """
    where = "multilabel_soft_margin_loss"
    check_reduction(where, reduction)
    dtype, input, target = as_floats(where, integers={"target"}, input=input, target=target)
    check_same_shape(where, input=input, target=target)
    if not input.ndim:
        raise ValueError(f"{where}: expected classes along the last axis, got a scalar")
    losses = logistic_entropy(input, target)
    if weight is not None:
        losses = as_coefficients(where, "weight", weight, input.shape, input.dtype) * losses
    return reduce(jnp.sum(losses, -1), reduction, dtype, share=input.shape[-1])


def _check_examples(where: str, input: Array) -> None:
    """Raise `ValueError` unless `input` holds one example or a batch of them, with at least one class."""
    if input.ndim not in (1, 2) or not input.shape[-1]:
        raise ValueError(f"{where}: input must have shape (classes,) or (batch, classes), got {input.shape}")
