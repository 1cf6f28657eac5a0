"""Standardize an array by its mean and variance, as all norms except RMSNorm do."""

import math
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxtrain._ground.float64 import as_float64, in_float64
from jaxtrain._ground.spread import spread
from jaxtrain._ground.sums import is_small

AxisName = str | tuple[str, ...] | None
Arrays = TypeVar("Arrays", jax.Array, tuple[jax.Array, ...])


class Over(NamedTuple):
    """The axes over which the statistics are taken.

    Attributes:
        axes: axes of the array, counted from the front.
        axis_name: mapped axes.
        groups: axis of the channels, and the number of groups of neighbouring channels.
    """

    axes: tuple[int, ...]
    axis_name: AxisName = None
    groups: tuple[int, int] | None = None


class Standardized(NamedTuple):
    """The standardized array, and its statistics with the reduced axes kept at size one."""

    output: jax.Array
    mean: jax.Array
    variance: jax.Array


class Moments(NamedTuple):
    """The mean and variance of an array, the array less its mean, and 1 / √(variance + eps)."""

    centred: jax.Array
    mean: jax.Array
    variance: jax.Array
    inverse: jax.Array


def standardize(
    x: jax.Array, over: Over, eps: float, *, scale: jax.Array | None = None, bias: jax.Array | None = None
) -> Standardized:
    """Bring `x` to mean 0 and variance 1, then multiply it by `scale` and add `bias`.

        (x - mean) / √(variance + eps) · scale + bias

    `scale` and `bias` have as many dimensions as `x`; None stands for 1 and 0.
    """
    one, zero = jnp.ones((), x.dtype), jnp.zeros((), x.dtype)
    return _standardize(x, one if scale is None else scale, zero if bias is None else bias, over, eps)


@partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def _standardize(x: jax.Array, scale: jax.Array, bias: jax.Array, over: Over, eps: float) -> Standardized:
    centred, mean, variance, inverse = _moments(x, over, eps)
    return Standardized(centred * (scale * inverse) + bias, mean, variance)


@_standardize.defjvp
def _standardize_jvp(
    over: Over, eps: float, primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[Standardized, Standardized]:
    """The derivative that autodiff would find, written so that its transpose is short and exact.

    Transposed, it is two sums over the gradient g, Σg and Σ(g · normalized), in one pass over the arrays: they are the
    gradients of bias and scale, and all that the gradient of `x` needs. The means are subtracted from g before it is
    multiplied: products would round the large part that g and its mean have in common.
    """
    (x, scale, bias), (x_tangent, scale_tangent, bias_tangent) = primals, tangents
    centred, mean, variance, inverse = _moments(x, over, eps)
    normalized = centred * inverse
    output = centred * (scale * inverse) + bias

    if over.groups is None and all(scale.ndim == 0 or scale.shape[axis] == 1 for axis in over.axes):
        moved = x_tangent * (scale * inverse)
        shift, along = (-_total(values, over) for values in (moved, normalized * moved))
        count = _count(x, over)
        tangent = moved + spread(bias_tangent, x) + spread(shift, x, share=count)
        tangent += normalized * (spread(scale_tangent, x) + spread(along, x, share=count))
    else:
        moved = x_tangent * inverse
        shift, along = _average((moved, normalized * moved), over)
        tangent = (moved - shift - normalized * along) * scale
        tangent += normalized * spread(scale_tangent, x) + spread(bias_tangent, x)
    mean_tangent, variance_tangent = _average((x_tangent, 2 * centred * x_tangent), over)
    return Standardized(output, mean, variance), Standardized(tangent, mean_tangent, variance_tangent)


def _moments(x: jax.Array, over: Over, eps: float) -> Moments:
    """Mean and variance: of float32 in float64, as in PyTorch, but of rows or columns of large arrays in its dtype."""
    is_short = over.axes in ((0,), (x.ndim - 1,)) and not is_small(x)
    in_two_passes = is_short or x.dtype == jnp.float64
    return _moments_in_two_passes(x, over, eps) if in_two_passes else _moments_in_float64(x, over, eps)


def _moments_in_float64(x: jax.Array, over: Over, eps: float) -> Moments:
    """In one pass over the array: E[x²] - E[x]² of float32 has digits to spare in float64.

    The mean is rounded to float32, by 3e-5 at mean 1000, so what it lacks is subtracted, too.
    """

    def statistics() -> tuple[jax.Array, ...]:
        wide = as_float64(x)
        mean, mean_square = _average((wide, jnp.square(wide)), over)
        rounded = as_float64(lax.convert_element_type(mean, x.dtype))
        variance = jnp.maximum(mean_square - jnp.square(mean), 0)
        return rounded, mean - rounded, variance, 1 / jnp.sqrt(variance + as_float64(eps))

    mean, rest, variance, inverse = in_float64(statistics, dtype=x.dtype)
    return Moments((x - mean) - rest, mean, variance, inverse)


def _moments_in_two_passes(x: jax.Array, over: Over, eps: float) -> Moments:
    """Mean and variance in two passes, as exact as in three.

    The first mean is rounded: by 3e-5 at mean 1000, which the second pass finds in the differences. The second pass
    also sums their squares, from which the square of that small correction is subtracted. E[x²] - E[x]² would save a
    pass, but lose all digits where the mean is large compared with the deviation.
    """
    rounded_mean = _average(x, over)
    shifted = x - rounded_mean
    correction, mean_square = _average((shifted, jnp.square(shifted)), over)
    variance = mean_square - jnp.square(correction)
    # Where the deviation is larger, rounding shifts many differences the same way, by more than the correction repairs.
    is_far = jnp.square(rounded_mean) > variance
    mean = jnp.where(is_far, rounded_mean + correction, rounded_mean)
    inverse = 1 / jnp.sqrt(variance + eps)
    if x.ndim - 1 in over.axes:
        return Moments(shifted - correction, mean, variance, inverse)
    # From `x` again: XLA would keep `shifted` in memory until here. Not so for rows, above, which it reads only once.
    return Moments((x - mean) - (rounded_mean - mean + correction), mean, variance, inverse)


def _total(values: jax.Array, over: Over) -> jax.Array:
    """The sum, with the reduced axes kept at size one."""
    total = jnp.sum(values, over.axes, keepdims=True)
    return total if over.axis_name is None else lax.psum(total, over.axis_name)


def _count(values: jax.Array, over: Over) -> int:
    """How many values a sum of `_total` has."""
    count = math.prod(values.shape[axis] for axis in over.axes)
    return count if over.axis_name is None else count * lax.axis_size(over.axis_name)


def _average(values: Arrays, over: Over) -> Arrays:
    """The mean of each array, with the reduced axes kept at size one; the channels of a group share one mean."""

    def average(array: jax.Array) -> jax.Array:
        means = array
        # The first axis, usually of examples, comes last: the shorter a sum, the less it rounds.
        for axes in (over.axes[1:], over.axes[:1]):
            means = jnp.mean(means, axis=axes, keepdims=True) if axes else means
        if over.groups is None:
            return means
        # Channels are averaged last: each long sum has fewer numbers and rounds less, and no large array is reshaped.
        axis, groups = over.groups
        grouped = means.reshape(*means.shape[:axis], groups, array.shape[axis] // groups, *means.shape[axis + 1 :])
        shared = jnp.broadcast_to(jnp.mean(grouped, axis=axis + 1, keepdims=True), grouped.shape)
        return shared.reshape(means.shape)

    local = jax.tree.map(average, values)
    return local if over.axis_name is None else lax.pmean(local, over.axis_name)
