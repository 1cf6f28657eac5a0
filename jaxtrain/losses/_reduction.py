"""Reduce the losses of all elements to the result: their mean, their sum, or all of them."""

import functools
import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike

from jaxtrain._ground.checks import check_choice
from jaxtrain._ground.division import divided
from jaxtrain._ground.float64 import as_float64, in_float64
from jaxtrain._ground.sums import float64_sum

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(where: str, reduction: str) -> None:
    """Raise `ValueError` unless `reduction` is "mean", "sum" or "none"."""
    check_choice(where, "reduction", reduction, REDUCTIONS)


def reduce(
    losses: Array | tuple[Array, ...],
    reduction: str,
    dtype: np.dtype,
    *,
    factors: tuple[ArrayLike, ...] | None = None,
    total: Array | int | None = None,
    share: int = 1,
) -> Array:
    """Reduce `losses` and round the result to `dtype`, once.

    Sums are as accurate as in float64, so that the mean of a million elements has the precision of one.

    Args:
        losses: the loss of each element, or parts of it, which are added.
        reduction: `"mean"`, `"sum"` or `"none"`.
        dtype: the dtype of the result.
        factors: of the parts, if there are several.
        total: the divisor of `"mean"`: a number, or weights, which are summed, or whether each loss counts. Default the
            number of losses. Where it is 0, the mean is NaN.
        share: a further divisor of each loss, such as the number of classes.
    """
    parts = losses if isinstance(losses, tuple) else (losses,)

    if reduction == "none":
        added = _added(parts, factors)
        return (added if share == 1 else divided(added, share)).astype(dtype)

    def reduced() -> Array:
        sums = [float64_sum(part) for part in parts]
        summed = _added(sums, factors and [as_float64(factor) for factor in factors]) / share
        if reduction == "sum":
            return summed
        divisor = _total(parts[0].size if total is None else total)
        # The sum need not be 0 where the divisor is: a smoothed loss of positions that all weigh 0.
        return jnp.where(divisor == 0, jnp.nan, summed / divisor)

    return in_float64(reduced, dtype=dtype)


def _total(total: Array | int) -> Array:
    """A number, the sum of weights, or how many are true, as a float64 scalar."""
    if not isinstance(total, Array):
        return as_float64(total)
    return as_float64(jnp.sum(total, dtype=jnp.int32)) if total.dtype == bool else float64_sum(total)


def _added(values: Sequence[Array], factors: Sequence[ArrayLike] | None) -> Array:
    """The sum of the values, each times its factor."""
    return functools.reduce(operator.add, map(operator.mul, factors, values) if factors else values)


def reduce_elementwise(
    loss: Callable[..., Array], arrays: tuple[Array | None, ...], reduction: str, dtype: np.dtype
) -> Array:
    """`reduce(loss(*arrays), ...)` with exact divisions by the number of elements in the gradient of `"mean"`.

    The gradient of a plain mean multiplies the slope of each element by the rounded 1/N, whose error all share.

    Args:
        loss: an elementwise function of arrays of one dtype; None among them stays None.
        arrays: its arguments.
        reduction: `"mean"`, `"sum"` or `"none"`.
        dtype: the dtype of the result.
    """
    return _mean(loss, dtype, *arrays) if reduction == "mean" else reduce(loss(*arrays), reduction, dtype)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _mean(loss: Callable[..., Array], dtype: np.dtype, *arrays: Array | None) -> Array:
    return reduce(loss(*arrays), "mean", dtype)


def _mean_jvp(
    loss: Callable[..., Array], dtype: np.dtype, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Array, Array]:
    first, *_ = primals
    count = lax.convert_element_type(first.size, first.dtype)

    def term(position: int) -> Array:
        primal, tangent = primals[position], tangents[position]

        def of_one(array: Array) -> Array:
            return loss(*primals[:position], array, *primals[position + 1 :])

        slope = jax.jvp(of_one, [primal], [jnp.ones_like(primal)])[1]
        # Few weights for many elements: what is divided at last is the sum of their slopes.
        return divided(slope, first.size) * tangent if primal.shape == first.shape else slope * (tangent / count)

    moving = [at for at, dot in enumerate(tangents) if dot is not None and not isinstance(dot, SymbolicZero)]
    return _mean(loss, dtype, *primals), reduce(functools.reduce(operator.add, map(term, moving)), "sum", dtype)


_mean.defjvp(_mean_jvp, symbolic_zeros=True)
