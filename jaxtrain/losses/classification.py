"""Losses of a choice among classes."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Num

from jaxtrain._checks import check_range, is_zero
from jaxtrain.losses._arguments import as_class_weight, as_classes, as_floats, positive_axis
from jaxtrain.losses._elementwise import product_or_zero
from jaxtrain.losses._reduction import check_reduction, reduce

_NO_CLASS = -100


def cross_entropy(
    input: Float[Array, "..."],
    target: Num[Array, "..."],
    weight: Float[Array, " classes"] | None = None,
    ignore_index: int = _NO_CLASS,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Cross-entropy between logits and classes, or between logits and probabilities of classes.

    With `log_p = log_softmax(input)`, C classes and ε = `label_smoothing`:

    - Integer `target` y: `(1 - ε) · weight[y] · -log_p[y] + ε / C · Σ_c weight[c] · -log_p[c]`; `"mean"` divides the
      sum by `Σ weight[y]` over the targets that are not ignored (by their number without weights).
    - Floating `target` t: `Σ_c weight[c] · ((1 - ε) · t[c] + ε / C) · -log_p[c]`; `"mean"` divides the sum by the
      number of positions, weighted or not.

    Args:
        input: logits, one or more dimensions, with the classes along `axis`.
        target: integers of the shape of `input` without `axis` are classes; floats of the shape of `input` are
            probabilities. A class outside `[0, C)` that is not `ignore_index` makes loss and gradient NaN.
        weight: a weight for each class.
        ignore_index: the class whose positions count neither in the loss nor in the mean; for classes only.
        reduction: `"mean"`, `"sum"` or `"none"`.
        label_smoothing: ε, the share of the uniform distribution in the target, in [0, 1].
        axis: the class axis of `input`; 1 is PyTorch's layout.

    Returns:
        A scalar, or for `"none"` an array of the shape of `input` without `axis`. The mean is NaN where everything is
        ignored (the gradient is 0 then) or the total weight is 0.

    Raises:
        TypeError: `input` or `weight` holds no floats, or `target` neither classes nor floats.
        ValueError: the shapes do not fit, `label_smoothing` is out of range, `ignore_index` comes with
            probabilities, or the reduction is unknown.

    Example:
        >>> from jaxtrain import losses
        >>> logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]))
        >>> round(float(losses.cross_entropy(logits, jnp.array([0, -100]))), 6)
        0.693147
        >>> round(float(losses.cross_entropy(logits, jnp.array([0, 1]), label_smoothing=0.3)), 6)
        1.074378

    Counterpart: `torch.nn.functional.cross_entropy`, which has the classes along dimension 1, raises `IndexError` for
    a class out of range, and gives NaN where a weight or a probability of 0 meets a logit of -inf (here that adds 0).

    Paper: Szegedy et al., Rethinking the Inception Architecture (2016), https://arxiv.org/abs/1512.00567 (smoothing).
    """
    where = "cross_entropy"
    check_reduction(where, reduction)
    check_range(where, "label_smoothing", label_smoothing, low=0, high=1)
    target = jnp.asarray(target)
    if jnp.issubdtype(target.dtype, jnp.floating):
        if ignore_index != _NO_CLASS:
            raise ValueError(f"{where}: ignore_index is for integer classes, but target holds {target.dtype}")
        return _of_probabilities(where, input, target, weight, reduction, label_smoothing, axis)
    return _of_classes(where, input, target, weight, ignore_index, reduction, label_smoothing, axis)


def nll_loss(
    input: Float[Array, "..."],
    target: Int[Array, "..."],
    weight: Float[Array, " classes"] | None = None,
    ignore_index: int = _NO_CLASS,
    reduction: str = "mean",
    *,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Negative log-likelihood of classes, given log-probabilities.

    `weight[y] · -input[y]` for each target y; `"mean"` divides the sum by `Σ weight[y]` over the targets that are not
    ignored (by their number without weights). `cross_entropy` is this after `log_softmax`.

    Args:
        input: log-probabilities, one or more dimensions, with the classes along `axis`.
        target: classes, of the shape of `input` without `axis`. A class outside `[0, C)` that is not `ignore_index`
            makes loss and gradient NaN.
        weight: a weight for each class.
        ignore_index: the class whose positions count neither in the loss nor in the mean.
        reduction: `"mean"`, `"sum"` or `"none"`.
        axis: the class axis of `input`; 1 is PyTorch's layout.

    Returns:
        A scalar, or for `"none"` an array of the shape of `target`. The mean is NaN where everything is ignored (the
        gradient is 0 then) or the total weight is 0.

    Raises:
        TypeError: `input` or `weight` holds no floats, or `target` no classes.
        ValueError: the shapes do not fit, or the reduction is unknown.

    Example:
        >>> from jaxtrain import losses
        >>> log_probs = jnp.array([[-1.0, -2.0], [-3.0, -4.0]])
        >>> float(losses.nll_loss(log_probs, jnp.array([0, 1]), weight=jnp.array([1.0, 3.0])))
        3.25

    Counterpart: `torch.nn.functional.nll_loss`, which has the classes along dimension 1, raises `IndexError` for a
    class out of range, and gives NaN where a weight of 0 meets a log-probability of -inf (here that adds 0).
    """
    where = "nll_loss"
    check_reduction(where, reduction)
    dtype, input = as_floats(where, input=input)
    axis = positive_axis(where, axis, input.shape)
    weight = None if weight is None else as_class_weight(where, weight, input.shape[axis], input.dtype)
    rows = _rows(where, input, target, weight, ignore_index, axis)
    return reduce(rows.losses(_pick(input, rows.label, axis)), reduction, dtype, total=rows.weight)


class _Rows(NamedTuple):
    """Integer targets made safe to index with.

    Attributes:
        label: the class of each position, and 0 where that is out of range.
        weight: its weight: 0 where it is ignored, and NaN where it is out of range.
        is_ignored: where the target is to be ignored.
    """

    label: Array
    weight: Array
    is_ignored: Array

    def losses(self, log_probs: Array) -> Array:
        """The weighted loss of each position from the log-probability of its class."""
        return jnp.where(self.is_ignored, 0, -product_or_zero(self.weight, log_probs))


def _rows(where: str, input: Array, target: Array, weight: Array | None, ignore_index: int, axis: int) -> _Rows:
    target = as_classes(where, "target", target)
    classes = input.shape[axis]
    positions = input.shape[:axis] + input.shape[axis + 1 :]
    if target.shape != positions:
        raise ValueError(
            f"{where}: classes must have the shape of input {input.shape} without axis {axis}, got {target.shape};"
            " probabilities must be floats"
        )
    is_ignored = target == ignore_index
    is_class = (target >= 0) & (target < classes)
    label = jnp.where(is_class, target, 0)
    row_weight = jnp.ones_like(label, input.dtype) if weight is None else weight[label]
    return _Rows(label, jnp.where(is_ignored, 0, jnp.where(is_class, row_weight, jnp.nan)), is_ignored)


def _of_classes(
    where: str,
    input: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    axis: int,
) -> Array:
    dtype, input = as_floats(where, input=input)
    axis = positive_axis(where, axis, input.shape)
    weight = None if weight is None else as_class_weight(where, weight, input.shape[axis], input.dtype)
    rows = _rows(where, input, target, weight, ignore_index, axis)

    losses = rows.losses(_log_softmax(input, axis, rows.label))
    if not is_zero(label_smoothing):
        log_probs = _log_softmax(input, axis)
        weighted = log_probs if weight is None else product_or_zero(_along(axis, weight, input.ndim), log_probs)
        smooth = jnp.where(rows.is_ignored, 0, -jnp.mean(weighted, axis))
        losses = (1 - label_smoothing) * losses + label_smoothing * smooth
    return reduce(losses, reduction, dtype, total=rows.weight)


def _of_probabilities(
    where: str,
    input: Array,
    target: Array,
    weight: Array | None,
    reduction: str,
    label_smoothing: float,
    axis: int,
) -> Array:
    dtype, input, target = as_floats(where, input=input, target=target)
    axis = positive_axis(where, axis, input.shape)
    if target.shape != input.shape:
        raise ValueError(
            f"{where}: probabilities must have the shape of input {input.shape}, got {target.shape};"
            " classes must be integers"
        )
    if not is_zero(label_smoothing):
        target = (1 - label_smoothing) * target + label_smoothing / input.shape[axis]
    if weight is not None:
        weight = as_class_weight(where, weight, input.shape[axis], input.dtype)
        target = target * _along(axis, weight, input.ndim)
    losses = -jnp.sum(product_or_zero(target, _log_softmax(input, axis)), axis)
    return reduce(losses, reduction, dtype)


def _log_softmax(logits: Array, axis: int, label: Array | None = None) -> Array:
    """The log-probabilities of all classes, or at each position that of its label."""
    largest = lax.stop_gradient(jnp.max(logits, axis, keepdims=True))
    log_normalizer = jnp.log(jnp.sum(jnp.exp(logits - largest), axis, keepdims=True))
    if label is None:
        return logits - largest - log_normalizer
    # Picked from the logits, so that the log-probabilities of all classes are never written: twice as fast.
    return _pick(logits, label, axis) - jnp.squeeze(largest, axis) - jnp.squeeze(log_normalizer, axis)


def _pick(values: Array, label: Array, axis: int) -> Array:
    """The value of each position's label along `axis`."""
    picked = jnp.take_along_axis(values, jnp.expand_dims(label, axis), axis, mode="promise_in_bounds")
    return jnp.squeeze(picked, axis)


def _along(axis: int, weight: Array, ndim: int) -> Array:
    """A weight for each class, shaped to meet the classes of an array of `ndim` dimensions."""
    return jnp.expand_dims(weight, [other for other in range(ndim) if other != axis])
