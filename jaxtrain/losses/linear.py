"""Losses of a linear layer that never hold all its outputs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Num

from jaxtrain._ground.arrays import as_array
from jaxtrain._ground.checks import check_integer
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.sharding import left_to_xla
from jaxtrain.losses._arguments import as_class_weight, as_floats, promoted
from jaxtrain.losses._cross_entropy import NO_CLASS, cross_entropies, factors_of
from jaxtrain.losses._reduction import check_reduction, reduce

_SMALLEST_CHUNK = 64


@jax.named_scope("linear_cross_entropy")
def linear_cross_entropy(
    input: Float[Array, "*batch in_features"],
    linear_weight: Float[Array, "classes *out in_features"],
    target: Num[Array, "..."],
    *,
    linear_bias: Float[Array, "classes *out"] | None = None,
    weight: Float[Array, " classes"] | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    chunk_size: int | None = None,
) -> Float[Array, "..."]:
    """Cross-entropy of a linear layer, without ever holding the logits of the whole batch.

        cross_entropy(input @ linear_weight.T + linear_bias, target, ...)

    The logits are computed for `chunk_size` rows at a time, and again in the backward pass, so the memory needed is the
    memory of one chunk both ways. With a large vocabulary the logits would fill it otherwise.

    Args:
        input: features of shape (batch, in_features), or (in_features,) for one row.
        linear_weight: the kernel, a row for each class. With more axes, (classes, *out, in_features), the loss is
            K-dimensional: the logits have shape (batch, classes, *out), and are computed at once.
        target: classes or probabilities, as in `cross_entropy` with the classes along axis 1.
        linear_bias: of the shape of `linear_weight` without its last axis. Default none.
        weight: a weight for each class. Default all 1.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.
        ignore_index: the class whose rows count neither in the loss nor in the mean; for classes only. Default -100.
        label_smoothing: the share of the uniform distribution in the target, in [0, 1]. Default 0.
        chunk_size: largest number of rows in a chunk, at least 1. Default as many as make the logits of a chunk no
            larger than `input`, but at least 64.

    Returns:
        A scalar, or with `"none"` the loss of each row, in the dtype of `input`. The mean is NaN where everything is
        ignored or the total weight is 0.

    Raises:
        TypeError: if an argument does not hold floats, `target` holds neither classes nor floats, `ignore_index` or
            `chunk_size` is not an integer, or `label_smoothing` is not a number.
        ValueError: if the shapes do not fit, a number is out of range or has axes, `ignore_index` is given with
            probabilities, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> features, kernel = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.log(jnp.array([[0.5, 0.25], [0.5, 0.75]]))
        >>> loss = losses.linear_cross_entropy(features, kernel, jnp.array([0, 1]), chunk_size=1)
        >>> round(float(loss), 4)  # The mean of log(2) and log(4 / 3).
        0.4904

    PyTorch: `torch.nn.functional.linear_cross_entropy`; its `options` choose chunks and the precision of sums. Here
    chunks are the rule and sums are at least float32, and second derivatives, label smoothing and probabilities work in
    chunks as well.
    """
    where = "linear_cross_entropy"
    check_reduction(where, reduction)
    input, linear_weight = as_floats(where, "input", input), as_floats(where, "linear_weight", linear_weight)
    linear_bias = None if linear_bias is None else as_floats(where, "linear_bias", linear_bias)
    target = as_array(where, "target", target)
    if ignore_index is not None and jnp.issubdtype(target.dtype, jnp.floating):
        raise ValueError(f"{where}: ignore_index is for integer classes, but target holds {target.dtype}")
    _check_shapes(where, input, linear_weight, linear_bias)
    weight = as_class_weight(where, weight, len(linear_weight), at_least_float32(linear_weight.dtype))
    # Converted outside the loop: the gradients of all chunks are then summed in the precision of the computation.
    dtype, (input, linear_weight, linear_bias) = promoted(input, linear_weight, linear_bias)
    bias = jnp.zeros((), input.dtype) if linear_bias is None else linear_bias
    options = (NO_CLASS if ignore_index is None else ignore_index, label_smoothing)

    def at_once(
        input: Array, target: Array, kernel: Array, bias: Array, weight: Array | None
    ) -> tuple[tuple[Array, ...], Array | None]:
        logits = jnp.tensordot(input, kernel, (-1, -1))
        logits = logits + jnp.expand_dims(bias, range(logits.ndim - bias.ndim))
        each = cross_entropies(where, logits, target, weight, *options, axis=0 if input.ndim == 1 else 1)
        return each.losses, each.weights

    if linear_weight.ndim > 2 or input.ndim == 1:
        losses, weights = at_once(input, target, linear_weight, bias, weight)
    else:
        _check_target(where, target, input.shape[0], len(linear_weight))
        chunk_size = _chunk_size(where, chunk_size, input.size, len(linear_weight))
        losses, weights = left_to_xla(_in_chunks(at_once, chunk_size), input, target, linear_weight, bias, weight)
    factors = factors_of(losses, label_smoothing, len(linear_weight))
    return reduce(losses, reduction, dtype, factors=factors, total=weights)


def _in_chunks(function: Callable[..., tuple], chunk_size: int) -> Callable[..., tuple]:
    """`function(input, target, ...)` for `chunk_size` rows at a time, and once more for their gradients."""

    def in_chunks(input: Array, target: Array, *rest: Array | None) -> tuple:
        rows = input.shape[0]
        chunks, size = -(-rows // chunk_size), chunk_size
        if isinstance(rows, int):  # In a program for batches of any size it is not.
            if chunks <= 1:
                return function(input, target, *rest)
            size = -(-rows // chunks)

        # Every row belongs to another chunk than the next: devices that share the rows share every chunk.
        def split(array: Array) -> Array:
            padded = jnp.pad(array, ((0, chunks * size - rows), *[(0, 0)] * (array.ndim - 1)))
            return jnp.moveaxis(padded.reshape(size, chunks, *array.shape[1:]), 1, 0)

        def joined(array: Array) -> Array:
            return jnp.moveaxis(array, 1, 0).reshape(size * chunks)[:rows]

        each = lax.map(jax.checkpoint(lambda chunk: function(*chunk, *rest)), (split(input), split(target)))
        return jax.tree.map(joined, each)

    return in_chunks


def _check_shapes(where: str, input: Array, linear_weight: Array, linear_bias: Array | None) -> None:
    if input.ndim not in (1, 2):
        raise ValueError(f"{where}: input must have shape (batch, in_features) or (in_features,), got {input.shape}")
    if linear_weight.ndim < 2 or linear_weight.shape[-1] != input.shape[-1]:
        raise ValueError(
            f"{where}: linear_weight must have shape (classes, ..., {input.shape[-1]}), got {linear_weight.shape}"
        )
    if linear_weight.ndim > 2 and input.ndim == 1:
        raise ValueError(f"{where}: a K-dimensional loss needs input of shape (batch, in_features), got {input.shape}")
    if linear_bias is not None and linear_bias.shape != linear_weight.shape[:-1]:
        raise ValueError(f"{where}: linear_bias must have shape {linear_weight.shape[:-1]}, got {linear_bias.shape}")


def _check_target(where: str, target: Array, rows: int, classes: int) -> None:
    expected = (rows, classes) if jnp.issubdtype(target.dtype, jnp.floating) else (rows,)
    if target.shape != expected:
        raise ValueError(
            f"{where}: target must have shape ({rows},) for integer classes or ({rows}, {classes}) for probabilities,"
            f" got {target.shape} of {target.dtype}"
        )


def _chunk_size(where: str, chunk_size: int | None, input_size: int, classes: int) -> int:
    if chunk_size is None:
        is_known = isinstance(input_size, int)
        return max(_SMALLEST_CHUNK, input_size // max(classes, 1)) if is_known else _SMALLEST_CHUNK
    check_integer(where, "chunk_size", chunk_size, low=1)
    return chunk_size
