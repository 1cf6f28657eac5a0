"""Losses of a choice among classes."""

from jaxtyping import Array, Float, Int, Num

from jaxtrain.losses._arguments import as_class_weight, as_floats, positive_axis
from jaxtrain.losses._cross_entropy import NO_CLASS, cross_entropies, labels_of, pick
from jaxtrain.losses._reduction import check_reduction, reduce


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
        >>> import jax.numpy as jnp
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
    losses, weights, dtype = cross_entropies(where, input, target, weight, ignore_index, label_smoothing, axis)
    return reduce(losses, reduction, dtype, total=weights)


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
        >>> import jax.numpy as jnp
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
    weight = as_class_weight(where, weight, input.shape[axis], input.dtype)
    labels = labels_of(where, input, target, weight, ignore_index, axis)
    return reduce(labels.losses(pick(input, labels.safe, axis)), reduction, dtype, total=labels.weight)
