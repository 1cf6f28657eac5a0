"""Losses between sequences of unequal length."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxtrain._ground.arrays import as_array
from jaxtrain._ground.checks import check_flag, check_integer, check_range, is_concrete
from jaxtrain.losses._arguments import as_classes, as_floats, promoted
from jaxtrain.losses._reduction import check_reduction, reduce


@jax.named_scope("ctc_loss")
def ctc_loss(
    log_probs: Float[Array, "time *batch classes"],
    targets: Int[Array, "..."],
    input_lengths: Int[ArrayLike, "..."],
    target_lengths: Int[ArrayLike, "..."],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Float[Array, "..."]:
    """Connectionist temporal classification: minus the log-probability of all alignments of a label sequence.

        A[t, s] = log_probs[t, l[s]] + logsumexp(A[t-1, s], A[t-1, s-1], A[t-1, s-2])

    An alignment emits one class in each frame; it spells the labels once repeated classes are merged and blanks
    removed. The sum over all alignments runs forward in time over the labels l, with blanks around each. Its last term
    is for labels that differ from their predecessor only. `"mean"` first divides each loss by its target length (at
    least 1), then averages over the batch.

    Args:
        log_probs: log-probabilities of shape (time, batch, classes), or (time, classes) for one sequence. The
            log-softmax before it belongs in float32.
        targets: labels of shape (batch, longest), or all targets one after the other, or of shape (longest,) for one
            sequence. Whatever lies beyond a target's length is ignored. A label outside [0, C) makes loss and gradient
            NaN.
        input_lengths: number of frames of each sequence, from 0 to time.
        target_lengths: number of labels of each sequence.
        blank: the class of the blank. Default 0.
        reduction: `"mean"`, `"sum"` or `"none"`. Default `"mean"`.
        zero_infinity: whether a target that no alignment can spell, because it is too long for its frames, costs 0 with
            gradient 0 instead of infinity with gradient NaN. Default False.

    Returns:
        A scalar, or with `"none"` the loss of each sequence. Traced lengths out of range make it NaN.

    Raises:
        TypeError: if `log_probs` does not hold floats, another argument does not hold integers, or `zero_infinity` is
            not True or False.
        ValueError: if the shapes do not fit, `blank` is not a class, a length that is not traced is out of range, or
            the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import losses
        >>> uniform = jnp.full((3, 2), jnp.log(0.5))
        >>> round(float(jnp.exp(-losses.ctc_loss(uniform, jnp.array([1]), 3, 1, reduction="sum"))), 6)
        0.75

    PyTorch: `torch.nn.functional.ctc_loss`; its gradient by `log_probs` includes the gradient of a log-softmax
    (`exp(log_probs) - posterior`), where here it is the derivative itself (`-posterior`): by the logits below a
    log-softmax both are equal. It reads labels out of range from another frame's memory.

    Source: Graves et al., "Connectionist temporal classification", 2006, https://doi.org/10.1145/1143844.1143891
    """
    where = "ctc_loss"
    check_reduction(where, reduction)
    check_flag(where, "zero_infinity", zero_infinity)
    dtype, (log_probs,) = promoted(as_floats(where, "log_probs", log_probs))
    if log_probs.ndim not in (2, 3) or 0 in log_probs.shape:
        raise ValueError(
            f"{where}: log_probs must have shape (time, batch, classes) or (time, classes), none of them 0,"
            f" got {log_probs.shape}"
        )
    blank = check_integer(where, "blank", blank, low=0, high=log_probs.shape[-1] - 1)
    targets = as_classes(where, "targets", targets)
    is_single = log_probs.ndim == 2
    if targets.ndim == 0:
        raise ValueError(f"{where}: targets must hold the labels of a sequence along an axis, got one number")
    if is_single:
        if targets.ndim != 1:
            raise ValueError(f"{where}: one sequence needs targets of shape (longest,), got {targets.shape}")
        log_probs, targets = log_probs[:, None], targets[None]
    frames, batch, classes = log_probs.shape
    input_lengths, inputs_fit = _lengths(where, "input_lengths", input_lengths, batch, frames)
    target_lengths, targets_fit = _lengths(where, "target_lengths", target_lengths, batch, targets.shape[-1])
    if targets.ndim == 1:
        targets, fit = _split(where, targets, target_lengths)
        targets_fit &= fit
    if targets.ndim != 2 or len(targets) != batch:
        raise ValueError(f"{where}: targets must have shape ({batch}, longest) or be one row, got {targets.shape}")

    is_label = jnp.arange(targets.shape[1], dtype=jnp.int32)[None] < target_lengths[:, None]
    is_class = (targets >= 0) & (targets < classes)
    labels = _with_blanks(jnp.where(is_label & is_class, targets, blank), blank)
    emissions = jnp.take_along_axis(log_probs, labels[None], 2, mode="promise_in_bounds")
    is_running = jnp.arange(frames, dtype=jnp.int32)[:, None] < input_lengths[None]
    ends = _ends(_alignments(emissions, labels, is_running), target_lengths)
    is_impossible = jnp.all(jnp.isneginf(ends), 0)
    is_valid = inputs_fit & targets_fit & jnp.all(is_class | ~is_label, 1)

    losses = -_log_sum_or(0 if zero_infinity else -jnp.inf, ends)
    losses = jnp.where(is_valid, losses, jnp.nan)
    has_no_gradient = ~is_valid if zero_infinity else ~is_valid | is_impossible
    losses = losses + _undefined(log_probs, is_running & has_no_gradient[None])
    if is_single:
        losses, target_lengths = losses[0], target_lengths[0]
    if reduction == "mean":
        losses = losses / jnp.maximum(target_lengths, 1).astype(losses.dtype)
    return reduce(losses, reduction, dtype)


def _lengths(where: str, name: str, value: ArrayLike, batch: int, most: int) -> tuple[Array, Array]:
    """Lengths of shape (batch,), and whether each is in range."""
    lengths = as_array(where, name, value)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"{where}: {name} must hold integers, got {lengths.dtype}")
    if lengths.shape not in ((batch,), () if batch == 1 else (batch,)):
        raise ValueError(f"{where}: {name} must hold one length for each of {batch} sequences, got {lengths.shape}")
    check_range(where, name, lengths, low=0, high=most)
    lengths = jnp.reshape(lengths, (batch,)).astype(jnp.int32)
    return lengths, (lengths >= 0) & (lengths <= most)


def _split(where: str, targets: Array, lengths: Array) -> tuple[Array, Array]:
    """Targets that lie one after the other as rows of equal length, and whether their lengths add up."""
    total = jnp.sum(lengths)
    if is_concrete(total) and total != targets.size:
        raise ValueError(f"{where}: target_lengths add up to {total}, but targets has {targets.size} labels")
    longest = int(jnp.max(lengths)) if is_concrete(lengths) else targets.size
    index = (jnp.cumsum(lengths) - lengths)[:, None] + jnp.arange(longest, dtype=jnp.int32)[None]
    return jnp.take(targets, index, mode="clip"), total == targets.size


def _with_blanks(targets: Array, blank: int) -> Array:
    """The labels of each row with a blank before, between and after them."""
    batch, longest = targets.shape
    pairs = jnp.pad(targets[..., None], ((0, 0), (0, 0), (1, 0)), constant_values=blank)
    return jnp.pad(pairs.reshape(batch, 2 * longest), ((0, 0), (0, 1)), constant_values=blank)


def _alignments(emissions: Array, labels: Array, is_running: Array) -> Array:
    """For each label, the log-probability of all alignments that reach it in the last frame.

    Args:
        emissions: log-probability of each label in each frame, of shape (time, batch, labels).
        labels: the labels with their blanks, of shape (batch, labels).
        is_running: whether a frame belongs to a sequence, of shape (time, batch).
    """
    may_skip = jnp.pad(labels[:, 2:] != labels[:, :-2], ((0, 0), (min(2, labels.shape[1]), 0)))

    def advance(alpha: Array, frame: tuple[Array, Array]) -> tuple[Array, None]:
        emission, is_running = frame
        one_back, two_back = (
            jnp.pad(alpha, ((0, 0), (back, 0)), constant_values=-jnp.inf)[:, : alpha.shape[1]] for back in (1, 2)
        )
        arriving = jnp.stack([alpha, one_back, jnp.where(may_skip, two_back, -jnp.inf)])
        return jnp.where(is_running[:, None], _log_sum_or(-jnp.inf, arriving) + emission, alpha), None

    # Before the first frame every alignment is at the first blank.
    start = jnp.where(jnp.arange(labels.shape[1])[None] == 0, jnp.zeros_like(emissions[0]), -jnp.inf)
    return lax.scan(advance, start, (emissions, is_running))[0]


def _ends(alpha: Array, target_lengths: Array) -> Array:
    """The two places where an alignment may end: the last blank and the last label, if there is one."""
    last = 2 * target_lengths[:, None]
    blank, label = (jnp.take_along_axis(alpha, jnp.maximum(last - back, 0), 1)[:, 0] for back in (0, 1))
    return jnp.stack([blank, jnp.where(target_lengths == 0, -jnp.inf, label)])


def _log_sum_or(otherwise: float, terms: Array) -> Array:
    """logsumexp along the first axis; `otherwise` with gradient 0 where all terms are -inf."""
    is_impossible = jnp.all(jnp.isneginf(terms), 0)
    return jnp.where(is_impossible, otherwise, jax.nn.logsumexp(jnp.where(is_impossible, 0, terms), 0))


@jax.custom_jvp
def _undefined(log_probs: Array, is_undefined: Array) -> Array:
    """0 for each sequence, with gradient NaN in the frames marked, of shape (time, batch)."""
    return jnp.zeros_like(log_probs[0, :, 0])


@_undefined.defjvp
def _undefined_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    slope = jnp.where(primals[1], jnp.nan, 0).astype(primals[0].dtype)
    return _undefined(*primals), jnp.sum(slope[..., None] * tangents[0], (0, 2))
