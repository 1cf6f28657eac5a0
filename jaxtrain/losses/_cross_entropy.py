"""The cross-entropy of each position, before any reduction."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxtrain._ground.arrays import as_array
from jaxtrain._ground.axes import along_axis, entries, is_at, pick
from jaxtrain._ground.checks import is_concrete, is_zero
from jaxtrain.losses._arguments import (
    as_class_weight,
    as_classes,
    as_floats,
    check_class_number,
    check_number,
    class_axis,
    promoted,
)
from jaxtrain.losses._elementwise import product_or_zero

NO_CLASS = -100
"""The class that is ignored by default."""


class CrossEntropies(NamedTuple):
    """What `reduce` needs.

    Attributes:
        losses: the loss of each position, in one or two parts.
        weights: the weight of each position in the mean, or whether it counts; None where all weigh the same.
        dtype: the dtype of the result.
    """

    losses: tuple[Array, ...]
    weights: Array | None
    dtype: np.dtype


class Labels(NamedTuple):
    """Integer targets.

    Attributes:
        safe: the class of each position, and 0 where it is out of range.
        weight: its weight: 0 where it is ignored, and NaN where it is out of range.
        is_ignored: whether it is ignored.
        counted: what it adds to the divisor of the mean: its weight, or without class weights whether it counts.
    """

    safe: Array
    weight: Array
    is_ignored: Array
    counted: Array

    def losses(self, log_probs: Array) -> Array:
        """The loss of each position from the log-probability of its class."""
        return jnp.where(self.is_ignored, 0, -product_or_zero(self.weight, log_probs))


def cross_entropies(
    where: str,
    input: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    label_smoothing: float,
    axis: int,
) -> CrossEntropies:
    """Check the arguments of `cross_entropy` and compute the loss of each position."""
    check_number(where, "label_smoothing", label_smoothing, low=0, high=1)
    check_class_number(where, "ignore_index", ignore_index)
    input, target = as_floats(where, "input", input), as_array(where, "target", target)
    axis = class_axis(where, axis, input.shape)
    if not jnp.issubdtype(target.dtype, jnp.floating):
        return _of_classes(where, input, target, weight, ignore_index, label_smoothing, axis)
    if not is_concrete(ignore_index) or ignore_index != NO_CLASS:
        raise ValueError(f"{where}: ignore_index is for integer classes, but target holds {target.dtype}")
    return _of_probabilities(where, input, target, weight, label_smoothing, axis)


def _of_classes(
    where: str,
    input: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    label_smoothing: float,
    axis: int,
) -> CrossEntropies:
    dtype, (input,) = promoted(input)
    weight = as_class_weight(where, weight, input.shape[axis], input.dtype)
    labels = labels_of(where, input, target, weight, ignore_index, axis)
    largest, log_normalizer = _normalizer(input, axis)
    if is_zero(label_smoothing):
        # Picked from the logits: the log-probabilities of all classes are never written, which is twice as fast.
        own = pick(input, labels.safe, axis) - jnp.squeeze(largest, axis) - jnp.squeeze(log_normalizer, axis)
        return CrossEntropies((labels.losses(own),), labels.counted, dtype)
    # All logits are read in any case: to search for the label among them is less work for a GPU than to look it up.
    is_label = is_at(labels.safe, axis, input.shape[axis])
    own = jnp.sum(jnp.where(is_label, input - largest, 0), axis) - jnp.squeeze(log_normalizer, axis)
    log_probs = input - largest - log_normalizer
    weighted = log_probs if weight is None else product_or_zero(along_axis(weight, axis, input.ndim), log_probs)
    smooth = jnp.where(labels.is_ignored, 0, -jnp.sum(weighted, axis))
    return CrossEntropies((labels.losses(own), smooth), labels.counted, dtype)


def factors_of(parts: tuple[Array, ...], label_smoothing: float, classes: int) -> tuple[ArrayLike, ...] | None:
    """By what the loss of the label and the sum of those of all classes are multiplied; None if there is one part."""
    return None if len(parts) == 1 else (1 - label_smoothing, label_smoothing / classes)


def _of_probabilities(
    where: str, input: Array, target: Array, weight: Array | None, label_smoothing: float, axis: int
) -> CrossEntropies:
    dtype, (input, target) = promoted(input, target)
    if target.shape != input.shape:
        raise ValueError(
            f"{where}: probabilities must have the shape of input {input.shape}, got {target.shape};"
            " classes must be integers"
        )
    if not is_zero(label_smoothing):
        target = (1 - label_smoothing) * target + label_smoothing / input.shape[axis]
    weight = as_class_weight(where, weight, input.shape[axis], input.dtype)
    if weight is not None:
        target = target * along_axis(weight, axis, input.ndim)
    largest, log_normalizer = _normalizer(input, axis)
    losses = -jnp.sum(product_or_zero(target, input - largest - log_normalizer), axis)
    return CrossEntropies((losses,), None, dtype)


def labels_of(where: str, input: Array, target: Array, weight: Array | None, ignore_index: int, axis: int) -> Labels:
    """Check integer targets and make them safe to index with."""
    target = as_classes(where, "target", target)
    classes = input.shape[axis]
    if target.shape != input.shape[:axis] + input.shape[axis + 1 :]:
        raise ValueError(
            f"{where}: classes must have the shape of input {input.shape} without axis {axis}, got {target.shape};"
            f" {_way_out(input, target)}"
        )
    is_ignored = target == ignore_index
    is_class = (target >= 0) & (target < classes)
    safe = jnp.where(is_class, target, 0)
    weights = jnp.ones_like(safe, input.dtype) if weight is None else entries(weight, safe)
    weights = jnp.where(is_ignored, 0, jnp.where(is_class, weights, jnp.nan))
    return Labels(safe, weights, is_ignored, ~is_ignored if weight is None else weights)


def _way_out(input: Array, target: Array) -> str:
    if input.ndim > 1 and target.shape == input.shape[:1] + input.shape[2:]:
        return "if the classes lie along axis 1, as in PyTorch, pass axis=1"
    return "probabilities must be floats"


def _normalizer(logits: Array, axis: int) -> tuple[Array, Array]:
    """The two arrays, with `axis` of length 1, that one after the other turn logits into log-probabilities.

    The largest logit, and the logarithm of the sum of the exponentials of the rest.
    """
    largest = lax.stop_gradient(jnp.max(logits, axis, keepdims=True))
    return largest, jnp.log(jnp.sum(jnp.exp(logits - largest), axis, keepdims=True))
