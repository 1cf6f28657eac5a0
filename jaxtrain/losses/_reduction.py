"""From one loss an element to the loss that is asked for."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxtrain._ground.checks import check_choice
from jaxtrain._ground.float64 import as_float64, in_float64
from jaxtrain._ground.sums import float64_sum

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(where: str, reduction: str) -> None:
    """Raise `ValueError` unless `reduction` is one that every loss knows."""
    check_choice(where, "reduction", reduction, REDUCTIONS)


def reduce(
    losses: Array, reduction: str, dtype: np.dtype, *, total: Array | int | None = None, share: int = 1
) -> Array:
    """Reduce `losses` and round the result to `dtype`.

    The sum runs in float64, so that the loss of a million elements is as near the truth as that of one.

    Args:
        losses: one loss an element.
        reduction: `"mean"`, `"sum"` or `"none"`.
        dtype: the dtype of the result.
        total: what `"mean"` divides the sum by: a number, or weights whose sum it is; by default the number of
            losses. The mean over nothing is NaN.
        share: what every loss is still to be divided by, such as the number of classes: in float64, too, because the
            compiler multiplies with the rounded inverse of a constant, an error that no averaging removes.
    """
    if reduction == "none":
        return (losses / share).astype(dtype)

    def reduced() -> Array:
        summed = float64_sum(losses) / share
        if reduction == "sum":
            return summed
        if not isinstance(total, Array):
            return summed / as_float64(losses.size if total is None else total)
        # A smoothed loss has a sum even where every position weighs 0, and would have an infinite mean.
        return jnp.where(jnp.any(total != 0), summed / float64_sum(total), jnp.nan)

    return in_float64(reduced, dtype=dtype)
