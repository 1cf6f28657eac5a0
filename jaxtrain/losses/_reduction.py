"""From the losses of all elements to the result."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxtrain._ground.checks import check_choice
from jaxtrain._ground.float64 import as_float64, in_float64
from jaxtrain._ground.sums import float64_sum

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(where: str, reduction: str) -> None:
    """Raise `ValueError` unless `reduction` is "mean", "sum" or "none"."""
    check_choice(where, "reduction", reduction, REDUCTIONS)


def reduce(
    losses: Array, reduction: str, dtype: np.dtype, *, total: Array | int | None = None, share: int = 1
) -> Array:
    """Reduce `losses` and round the result to `dtype`, once.

    Sums are as accurate as in float64, so that the mean of a million elements has the precision of one.

    Args:
        losses: the loss of each element.
        reduction: `"mean"`, `"sum"` or `"none"`.
        dtype: the dtype of the result.
        total: the divisor of `"mean"`: a number, or weights, which are summed. Default the number of losses. Where it
            is 0, the mean is NaN.
        share: a further divisor of each loss, such as the number of classes. It divides in float64 as well, because
            the compiler multiplies with the rounded inverse of a constant, an error that no averaging removes.
    """
    if reduction == "none":
        return (losses / share).astype(dtype)

    def reduced() -> Array:
        summed = float64_sum(losses) / share
        if reduction == "sum":
            return summed
        divisor = (
            float64_sum(total) if isinstance(total, Array) else as_float64(losses.size if total is None else total)
        )
        # The sum need not be 0 where the divisor is: a smoothed loss of positions that all weigh 0.
        return jnp.where(divisor == 0, jnp.nan, summed / divisor)

    return in_float64(reduced, dtype=dtype)
