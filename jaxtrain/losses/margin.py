"""Losses with a margin: rankings, and one class or several."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Real

from jaxtrain._ground.axes import entries, is_at, pick
from jaxtrain._ground.checks import check_choice
from jaxtrain._ground.sharding import left_to_xla
from jaxtrain.losses._arguments import (
    as_class_weight,
    as_classes,
    as_coefficients,
    as_floats,
    as_numbers,
    check_number,
    check_same_shape,
    promoted,
)
from jaxtrain.losses._elementwise import hinge, logistic_entropy, softplus
from jaxtrain.losses._reduction import check_reduction, reduce


@jax.named_scope("margin_ranking_loss")
def margin_ranking_loss(
    input1: Float[Array, "*shape"],
    input2: Float[Array, "*shape"],
    target: Real[Array, "*shape"],
    margin: float = 0,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Rank one input above the other, by a margin.

        max(0, -target · (input1 - input2) + margin)

    At the hinge the gradient comes from the active side.

    Args:
        input1: scores of any shape.
        input2: scores of the same shape.
        target: 1 where `input1` should be the larger one and -1 where it should not, of the same shape.
        margin: how much larger. Default 0.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input1`. The mean of no elements is NaN.

    Raises:
        TypeError: if `input1` or `input2` does not hold floats, or `margin` is not a number.
        ValueError: if the shapes differ, `margin` is NaN or has axes, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> scores1, scores2 = jnp.array([2.0, 3.0]), jnp.array([1.0, 7.0])
        >>> print(losses.margin_ranking_loss(scores1, scores2, jnp.array([1, 1]), reduction="none"))
        [0. 4.]

    PyTorch: `torch.nn.functional.margin_ranking_loss`; it broadcasts different shapes.
    """
    where = "margin_ranking_loss"
    check_reduction(where, reduction)
    check_number(where, "margin", margin)
    input1, input2 = as_floats(where, "input1", input1), as_floats(where, "input2", input2)
    target = as_numbers(where, "target", target)
    check_same_shape(where, input1=input1, input2=input2, target=target)
    dtype, (input1, input2, target) = promoted(input1, input2, target)
    return reduce(hinge(-target * (input1 - input2) + margin), reduction, dtype)


@jax.named_scope("soft_margin_loss")
def soft_margin_loss(
    input: Float[Array, "*shape"], target: Real[Array, "*shape"], reduction: str = "mean"
) -> Float[Array, "..."]:
    """Logistic loss of a sign, finite for every finite input.

        log(1 + exp(-target · input))

    Args:
        input: logits of any shape.
        target: 1 or -1, of the same shape.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input`. The mean of no elements is NaN.

    Raises:
        TypeError: if `input` does not hold floats.
        ValueError: if the shapes differ, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> float(losses.soft_margin_loss(jnp.array([-100.0]), jnp.array([1])))
        100.0

    PyTorch: `torch.nn.functional.soft_margin_loss`; it broadcasts different shapes, and in float32 overflows where
    `-target · input` is above 88: the loss of the example is infinite there, and its gradient NaN.
    """
    where = "soft_margin_loss"
    check_reduction(where, reduction)
    input, target = as_floats(where, "input", input), as_numbers(where, "target", target)
    check_same_shape(where, input=input, target=target)
    dtype, (input, target) = promoted(input, target)
    return reduce(softplus(-target * input), reduction, dtype)


@jax.named_scope("multi_margin_loss")
def multi_margin_loss(
    input: Float[Array, "*batch classes"],
    target: Int[Array, "*batch"],
    p: int = 1,
    margin: float = 1.0,
    weight: Float[Array, " classes"] | None = None,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Hinge loss of a choice among classes.

        weight[y] / C · Σ_{c ≠ y} max(0, margin - input[y] + input[c])^p

    At the hinge the gradient is 0.

    Args:
        input: scores, one for each of C classes along the last axis, of one example or a batch.
        target: classes y, of the shape of `input` without the last axis. One outside [0, C) makes loss and gradient
            NaN.
        p: 1 or 2. Default 1.
        margin: by how much the score of the right class should be the largest. Default 1.
        weight: a weight for each class. Default all 1.
        reduction: `"mean"` (over the number of examples, weighted or not), `"sum"` or `"none"`. Default `"mean"`.

    Returns:
        A scalar, or with `"none"` an array of the shape of `target`. The mean of no examples is NaN.

    Raises:
        TypeError: if `input` or `weight` does not hold floats, `target` does not hold classes, or `p` or `margin` is
            not a number.
        ValueError: if the shapes do not fit, `p` is neither 1 nor 2, `margin` is NaN or has axes, or the reduction is
            unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> float(losses.multi_margin_loss(jnp.array([0.0, 0.5, 2.0, 0.75]), 3, p=2))
        1.421875

    PyTorch: `torch.nn.functional.multi_margin_loss`; it raises for a class out of range, and gives 0 as the mean of no
    examples.

    Source: Weston and Watkins, "Support vector machines for multi-class pattern recognition", ESANN, 1999
    """
    where = "multi_margin_loss"
    check_reduction(where, reduction)
    check_number(where, "p", p)
    check_choice(where, "p", p, (1, 2))
    check_number(where, "margin", margin)
    dtype, (input,) = promoted(as_floats(where, "input", input))
    _check_examples(where, input)
    target = as_classes(where, "target", target)
    classes = input.shape[-1]
    if target.shape != input.shape[:-1]:
        raise ValueError(f"{where}: expected a class for each example, of shape {input.shape[:-1]}, got {target.shape}")

    is_class = (target >= 0) & (target < classes)
    target = jnp.where(is_class, target, 0)
    is_target = is_at(target, -1, classes)
    # The strict comparison in relu puts the hinge itself on the inactive side.
    excess = jnp.where(is_target, 0, jax.nn.relu(margin - pick(input, target, -1)[..., None] + input))
    losses = jnp.sum(excess if p == 1 else jnp.square(excess), -1)
    weight = as_class_weight(where, weight, classes, input.dtype)
    if weight is not None:
        losses = entries(weight, target) * losses
    return reduce(losses * jnp.where(is_class, 1, jnp.nan), reduction, dtype, share=classes)


@jax.named_scope("multilabel_margin_loss")
def multilabel_margin_loss(
    input: Float[Array, "*batch classes"], target: Int[Array, "*batch classes"], reduction: str = "mean"
) -> Float[Array, "..."]:
    """Hinge loss of several classes at once, given as a list.

        1 / C · Σ_j Σ_i max(0, 1 - input[target[j]] + input[i])

    j runs over the targets in front of the first -1, and i over the classes that are not among these. At the hinge the
    gradient is 0. Time grows with the length of the longest list; memory does not.

    Args:
        input: scores, one for each of C classes along the last axis, of one example or a batch.
        target: of the same shape: the classes of each example, then -1, then anything from -1 to C - 1. Any other
            number makes loss and gradient NaN.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input` without its last axis. The mean of no examples is
        NaN.

    Raises:
        TypeError: if `input` does not hold floats, or `target` does not hold classes.
        ValueError: if the shapes do not fit, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> scores, labels = jnp.array([0.125, 0.25, 0.5, 0.75]), jnp.array([3, 0, -1, 1])
        >>> float(losses.multilabel_margin_loss(scores, labels))
        0.9375

    PyTorch: `torch.nn.functional.multilabel_margin_loss`; it raises for a class out of range, and gives 0 as the mean
    of no examples.
    """
    where = "multilabel_margin_loss"
    check_reduction(where, reduction)
    dtype, (input,) = promoted(as_floats(where, "input", input))
    _check_examples(where, input)
    target = as_classes(where, "target", target)
    if target.shape != input.shape:
        raise ValueError(f"{where}: target must have the shape of input {input.shape}, got {target.shape}")
    is_valid = jnp.all((target >= -1) & (target < input.shape[-1]), -1)
    each = _list_loss if input.ndim == 1 else jax.vmap(_list_loss)
    losses = left_to_xla(lambda *arrays: each(*arrays)[0], input, target) * jnp.where(is_valid, 1, jnp.nan)
    return reduce(losses, reduction, dtype, share=input.shape[-1])


@jax.named_scope("multilabel_soft_margin_loss")
def multilabel_soft_margin_loss(
    input: Float[Array, "*batch classes"],
    target: Real[Array, "*batch classes"],
    weight: Float[Array, "..."] | None = None,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Logistic loss of several classes at once, given as indicators.

        1 / C · Σ_c weight[c] · (target[c] · softplus(-input[c]) + (1 - target[c]) · softplus(input[c]))

    For each example this is the mean of `binary_cross_entropy_with_logits` over the classes.

    Args:
        input: logits, one for each of C classes along the last axis.
        target: 1 for the classes of an example and 0 for the others, of the same shape.
        weight: weights that broadcast to that shape, such as one for each class. Default all 1.
        reduction: `"mean"` (over the number of examples, weighted or not), `"sum"` or `"none"`. Default `"mean"`.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input` without its last axis. The mean of no examples is
        NaN.

    Raises:
        TypeError: if `input` or `weight` does not hold floats.
        ValueError: if the shapes do not fit, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> float(losses.multilabel_soft_margin_loss(jnp.array([-20.0, -2000.0]), jnp.array([1, 0])))
        10.0

    PyTorch: `torch.nn.functional.multilabel_soft_margin_loss`; it broadcasts different shapes.
    """
    where = "multilabel_soft_margin_loss"
    check_reduction(where, reduction)
    input, target = as_floats(where, "input", input), as_numbers(where, "target", target)
    check_same_shape(where, input=input, target=target)
    if not input.ndim:
        raise ValueError(f"{where}: expected classes along the last axis, got a scalar")
    dtype, (input, target) = promoted(input, target)
    losses = logistic_entropy(input, target)
    if weight is not None:
        losses = as_coefficients(where, "weight", weight, like=losses) * losses
    return reduce(jnp.sum(losses, -1), reduction, dtype, share=input.shape[-1])


def _check_examples(where: str, input: Array) -> None:
    """Raise `ValueError` unless `input` holds one example or a batch of them, with at least one class."""
    if input.ndim not in (1, 2) or not input.shape[-1]:
        raise ValueError(f"{where}: input must have shape (classes,) or (batch, classes), got {input.shape}")


@jax.custom_jvp
def _list_loss(scores: Array, target: Array) -> tuple[Array, Array]:
    """The loss of one example, not yet divided, and its slope by each score, which is a difference of two counts."""
    classes = jnp.arange(len(scores))
    is_listed = jnp.cumsum(target == -1) == 0
    labels = jnp.where(is_listed, target, len(scores))
    is_label = jnp.zeros(scores.shape, bool).at[labels].set(True, mode="drop")

    def add(position: Array, totals: tuple[Array, Array]) -> tuple[Array, Array]:
        excesses, slopes = totals
        label = labels[position]
        # The strict comparison in relu puts the hinge itself on the inactive side.
        excess = jnp.where(is_label, 0, jax.nn.relu(1 - scores[label] + scores))
        is_active = (excess > 0).astype(scores.dtype)
        return excesses + excess, slopes + jnp.where(classes == label, -jnp.sum(is_active), is_active)

    # One label at a time, without an array of all pairs.
    excesses, slopes = lax.fori_loop(0, jnp.sum(is_listed), add, (jnp.zeros_like(scores), jnp.zeros_like(scores)))
    return jnp.sum(excesses), slopes


@_list_loss.defjvp
def _list_loss_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    loss, slopes = _list_loss(*primals)
    return (loss, slopes), (jnp.sum(slopes * tangents[0]), jnp.zeros_like(slopes))
