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
    """The mean and variance of an array, and 1 / √(variance + eps).

    Attributes:
        mean: the mean.
        variance: the variance.
        inverse: 1 / √(variance + eps).
        offset: a number near the mean that is subtracted first.
        rest: what it lacks. The array less its mean is (x - offset) - rest.
    """

    mean: jax.Array
    variance: jax.Array
    inverse: jax.Array
    offset: jax.Array
    rest: jax.Array


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
    mean, variance, inverse, offset, rest = _moments(x, over, eps)
    return Standardized(((x - offset) - rest) * (scale * inverse) + bias, mean, variance)


@_standardize.defjvp
def _standardize_jvp(
    over: Over, eps: float, primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[Standardized, Standardized]:
    """The derivative that autodiff would find, written so that its transpose is short and exact.

    Transposed, it is two sums over the gradient g, Σg and Σ(g · shifted), in one pass over the arrays: they are the
    gradients of bias and scale, and all that the gradient of `x` needs. The means are subtracted from g before it is
    multiplied: products would round the large part that g and its mean have in common.
    """
    (x, scale, bias), (x_tangent, scale_tangent, bias_tangent) = primals, tangents
    mean, variance, inverse, offset, rest = _moments(x, over, eps)
    shifted = x - offset  # The variance needs it as well, so that XLA keeps it and nothing else.
    centred = shifted - rest
    output = centred * (scale * inverse) + bias

    if over.groups is None and all(scale.ndim == 0 or scale.shape[axis] == 1 for axis in over.axes):
        moved = x_tangent * (scale * inverse)
        # In this order: transposed, the last use of `moved` adds to its gradient first, and the product comes last.
        total, product = (_total(values, over) for values in (moved, shifted * moved))
        along = -inverse * (product - rest * total)
        count = _count(x, over)
        tangent = moved + spread(bias_tangent, x) + spread(-total, x, share=count)
        slope = inverse * (spread(scale_tangent, x) + spread(along, x, share=count))
        tangent += shifted * slope - rest * slope
    else:
        normalized = centred * inverse
        moved = x_tangent * inverse
        shift, along = _average((moved, normalized * moved), over)
        tangent = (moved - shift - normalized * along) * scale
        tangent += normalized * spread(scale_tangent, x) + spread(bias_tangent, x)
    mean_tangent, variance_tangent = _average((x_tangent, 2 * centred * x_tangent), over)
    return Standardized(output, mean, variance), Standardized(tangent, mean_tangent, variance_tangent)


def _moments(x: jax.Array, over: Over, eps: float) -> Moments:
    """Mean and variance: of float32 with sums in float64, as in PyTorch, but of rows or columns in its dtype."""
    is_short = over.axes in ((0,), (x.ndim - 1,)) and not is_small(x)
    if is_short or x.dtype == jnp.float64:
        return _moments_in_two_passes(x, over, eps)
    return in_float64(partial(_moments_in_float64, x, over, eps), dtype=x.dtype)


def _moments_in_float64(x: jax.Array, over: Over, eps: float) -> Moments:
    """Inside `in_float64` only, which rounds them."""
    one_pass, staged = partial(_in_one_pass, over=over), partial(_in_stages, over=over)
    mean, variance = one_pass(x) if is_small(x) else lax.platform_dependent(x, cpu=staged, default=one_pass)
    offset = lax.convert_element_type(mean, x.dtype)
    return Moments(mean, variance, 1 / jnp.sqrt(variance + as_float64(eps)), offset, mean - as_float64(offset))


def _in_one_pass(x: jax.Array, over: Over) -> tuple[jax.Array, jax.Array]:
    """Mean and variance in float64: E[x²] - E[x]² of float32 has digits to spare there."""
    wide = as_float64(x)
    mean, mean_square = _average((wide, jnp.square(wide)), over)
    return mean, jnp.maximum(mean_square - jnp.square(mean), 0)


def _in_stages(x: jax.Array, over: Over) -> tuple[jax.Array, jax.Array]:
    """The same in two passes, of which the second sums short rows in float32.

    On a CPU, XLA writes an array to memory before it sums it in float64: here one array instead of two.
    """
    mean = _average(as_float64(x), over)
    offset = lax.convert_element_type(mean, x.dtype)
    mean_square = _average(jnp.square(x - offset), over, in_stages=True)
    return mean, jnp.maximum(mean_square - jnp.square(mean - as_float64(offset)), 0)


def _moments_in_two_passes(x: jax.Array, over: Over, eps: float) -> Moments:
    """Mean and variance in two passes, as exact as in three.

    The first mean is rounded: by 3e-5 at mean 1000, which the second pass finds in the differences. The second pass
    also sums their squares, from which the square of that small correction is subtracted. E[x²] - E[x]² would save a
    pass, but lose all digits where the mean is large compared with the deviation.
    """
    offset = _average(x, over)
    shifted = x - offset
    rest, mean_square = _average((shifted, jnp.square(shifted)), over)
    variance = jnp.maximum(mean_square - jnp.square(rest), 0)
    # Where the deviation is larger, rounding shifts many differences the same way, by more than the rest repairs.
    mean = jnp.where(jnp.square(offset) > variance, offset + rest, offset)
    return Moments(mean, variance, 1 / jnp.sqrt(variance + eps), offset, rest)


def _total(values: jax.Array, over: Over) -> jax.Array:
    """The sum, with the reduced axes kept at size one."""
    total = jnp.sum(values, over.axes, keepdims=True)
    return total if over.axis_name is None else lax.psum(total, over.axis_name)


def _count(values: jax.Array, over: Over) -> int:
    """How many values a sum of `_total` has."""
    count = math.prod(values.shape[axis] for axis in over.axes)
    return count if over.axis_name is None else count * lax.axis_size(over.axis_name)


def _average(values: Arrays, over: Over, *, in_stages: bool = False) -> Arrays:
    """The mean of each array, with the reduced axes kept at size one; the channels of a group share one mean.

    With `in_stages`, the means are float64, of float32 sums along the second axis.
    """

    def average(array: jax.Array) -> jax.Array:
        if in_stages:
            parts = jnp.sum(array, over.axes[1:2], keepdims=True) if over.axes[1:] else array
            count = math.prod(array.shape[axis] for axis in over.axes)
            means = jnp.sum(as_float64(parts), over.axes, keepdims=True) / count
        else:
            # The first axis, usually of examples, comes last: the shorter a sum, the less it rounds.
            means = jnp.mean(array, over.axes[1:], keepdims=True) if over.axes[1:] else array
            means = jnp.mean(means, over.axes[:1], keepdims=True)
        if over.groups is None:
            return means
        # Channels are averaged last: each long sum has fewer numbers and rounds less, and no large array is reshaped.
        axis, groups = over.groups
        grouped = means.reshape(*means.shape[:axis], groups, array.shape[axis] // groups, *means.shape[axis + 1 :])
        shared = jnp.broadcast_to(jnp.mean(grouped, axis=axis + 1, keepdims=True), grouped.shape)
        return shared.reshape(means.shape)

    local = jax.tree.map(average, values)
    return local if over.axis_name is None else lax.pmean(local, over.axis_name)
