"""Losses of a choice among classes."""

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Num

from jaxtrain._ground.axes import pick
from jaxtrain.losses._arguments import as_class_weight, as_floats, check_class_number, class_axis, promoted
from jaxtrain.losses._cross_entropy import NO_CLASS, cross_entropies, factors_of, labels_of
from jaxtrain.losses._reduction import check_reduction, reduce


@jax.named_scope("cross_entropy")
def cross_entropy(
    input: Float[Array, "..."],
    target: Num[Array, "..."],
    weight: Float[Array, " classes"] | None = None,
    ignore_index: int = NO_CLASS,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Cross-entropy between logits and classes, or between logits and probabilities of classes.

        log p = log_softmax(input)
        (1 - ε) · weight[y] · -log p[y] + ε / C · Σ_c weight[c] · -log p[c]     for a class y
        Σ_c weight[c] · ((1 - ε) · t[c] + ε / C) · -log p[c]                    for probabilities t

    With classes, `"mean"` divides the sum by `Σ weight[y]` over the targets that are not ignored (by their number
    without weights). With probabilities, it divides the sum by the number of positions, weighted or not.

    Args:
        input: logits with one or more axes, the C classes along `axis`.
        target: classes, as integers of the shape of `input` without `axis`, or probabilities, as floats of the shape of
            `input`. A class outside [0, C) that is not `ignore_index` makes loss and gradient NaN.
        weight: a weight for each class. Default all 1.
        ignore_index: the class whose positions count neither in the loss nor in the mean; for classes only. Default
            -100.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.
        label_smoothing: ε, the share of the uniform distribution in the target, in [0, 1]. Default 0.
        axis: the class axis of `input`; 1 is PyTorch's layout. Default -1.

    Returns:
        A scalar, or with `"none"` an array of the shape of `input` without `axis`. The mean is NaN where everything is
        ignored (the gradient is 0 then) or the total weight is 0.

    Raises:
        TypeError: if `input` or `weight` does not hold floats, `target` holds neither classes nor floats,
            `ignore_index` is not an integer, or `label_smoothing` is not a number.
        ValueError: if the shapes do not fit, `label_smoothing` is out of range or has axes, `ignore_index` is
            given with probabilities, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]))
        >>> round(float(losses.cross_entropy(logits, jnp.array([0, -100]))), 6)
        0.693147
        >>> round(float(losses.cross_entropy(logits, jnp.array([0, 1]), label_smoothing=0.3)), 6)
        1.074378

    PyTorch: `torch.nn.functional.cross_entropy`; it has the classes along dimension 1, raises `IndexError` for a class
    out of range, and gives NaN where a weight or a probability of 0 meets a logit of -inf, which adds 0 here.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (label smoothing), 2016,
    https://arxiv.org/abs/1512.00567
    """
    where = "cross_entropy"
    check_reduction(where, reduction)
    each = cross_entropies(where, input, target, weight, ignore_index, label_smoothing, axis)
    factors = factors_of(each.losses, label_smoothing, np.shape(input)[axis])
    return reduce(each.losses, reduction, each.dtype, factors=factors, total=each.weights)


@jax.named_scope("nll_loss")
def nll_loss(
    input: Float[Array, "..."],
    target: Int[Array, "..."],
    weight: Float[Array, " classes"] | None = None,
    ignore_index: int = NO_CLASS,
    reduction: str = "mean",
    *,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Negative log-likelihood of classes, given log-probabilities.

        weight[y] · -input[y]     for a class y

    `"mean"` divides the sum by `Σ weight[y]` over the targets that are not ignored (by their number without weights).
    `cross_entropy` is `nll_loss` after a log-softmax.

    Args:
        input: log-probabilities with one or more axes, the C classes along `axis`.
        target: classes, of the shape of `input` without `axis`. A class outside [0, C) that is not `ignore_index` makes
            loss and gradient NaN.
        weight: a weight for each class. Default all 1.
        ignore_index: the class whose positions count neither in the loss nor in the mean. Default -100.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.
        axis: the class axis of `input`; 1 is PyTorch's layout. Default -1.

    Returns:
        A scalar, or with `"none"` an array of the shape of `target`. The mean is NaN where everything is ignored (the
        gradient is 0 then) or the total weight is 0.

    Raises:
        TypeError: if `input` or `weight` does not hold floats, `target` does not hold classes, or `ignore_index` is not
            an integer.
        ValueError: if the shapes do not fit, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> log_probs = jnp.array([[-1.0, -2.0], [-3.0, -4.0]])
        >>> float(losses.nll_loss(log_probs, jnp.array([0, 1]), weight=jnp.array([1.0, 3.0])))
        3.25

    PyTorch: `torch.nn.functional.nll_loss`; it has the classes along dimension 1, raises `IndexError` for a class out
    of range, and gives NaN where a weight of 0 meets a log-probability of -inf, which adds 0 here.
    """
    where = "nll_loss"
    check_reduction(where, reduction)
    check_class_number(where, "ignore_index", ignore_index)
    input = as_floats(where, "input", input)
    axis = class_axis(where, axis, input.shape)
    dtype, (input,) = promoted(input)
    weight = as_class_weight(where, weight, input.shape[axis], input.dtype)
    labels = labels_of(where, input, target, weight, ignore_index, axis)
    return reduce(labels.losses(pick(input, labels.safe, axis)), reduction, dtype, total=labels.counted)
