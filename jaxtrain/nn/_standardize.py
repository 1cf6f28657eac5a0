"""Centring and scaling by an array's own mean and variance, the heart of all norms but RMSNorm."""

from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

AxisName = str | tuple[str, ...] | None
Arrays = TypeVar("Arrays", jax.Array, tuple[jax.Array, ...])


class Standardized(NamedTuple):
    """(x - mean) / √(variance + eps) · scale + bias, and the statistics, with the reduced axes kept at size one."""

    output: jax.Array
    mean: jax.Array
    variance: jax.Array


class Moments(NamedTuple):
    """The mean and variance of an array, and the array less its mean."""

    centred: jax.Array
    mean: jax.Array
    variance: jax.Array


def standardize(
    x: jax.Array,
    axes: tuple[int, ...],
    eps: float,
    *,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    axis_name: AxisName = None,
) -> Standardized:
    """Bring `x` to mean 0 and variance 1 over `axes`, and over the mapped axes `axis_name`; then scale it and add.

    `scale` and `bias` have as many dimensions as `x`. None stands for 1 and for 0.
    """
    one, zero = jnp.ones((), x.dtype), jnp.zeros((), x.dtype)
    return _standardize(x, one if scale is None else scale, zero if bias is None else bias, axes, eps, axis_name)


@partial(jax.custom_jvp, nondiff_argnums=(3, 4, 5))
def _standardize(
    x: jax.Array, scale: jax.Array, bias: jax.Array, axes: tuple[int, ...], eps: float, axis_name: AxisName
) -> Standardized:
    centred, mean, variance = _moments(x, axes, axis_name)
    return Standardized(centred * (scale / jnp.sqrt(variance + eps)) + bias, mean, variance)


@_standardize.defjvp
def _standardize_jvp(
    axes: tuple[int, ...],
    eps: float,
    axis_name: AxisName,
    primals: tuple[jax.Array, ...],
    tangents: tuple[jax.Array, ...],
) -> tuple[Standardized, Standardized]:
    """The derivative that autodiff would find, written so that its transpose is short.

    What is constant over the reduced axes is put together before it meets an array of full size. Transposed, that is
    two sums over the gradient g, Σg and Σ(g · normalized), in one pass over the arrays: they are the gradients of bias
    and scale, and all that the gradient of `x` needs.
    """
    (x, scale, bias), (x_tangent, scale_tangent, bias_tangent) = primals, tangents
    centred, mean, variance = _moments(x, axes, axis_name)
    deviation = jnp.sqrt(variance + eps)
    normalized = centred * (1 / deviation)
    slope = scale / deviation

    mean_tangent, along = _average((x_tangent, normalized * x_tangent), axes, axis_name)
    output_tangent = (
        x_tangent * slope + (bias_tangent - slope * mean_tangent) + normalized * (scale_tangent - slope * along)
    )
    return (
        Standardized(centred * slope + bias, mean, variance),
        Standardized(output_tangent, mean_tangent, 2 * deviation * along),
    )


def _moments(x: jax.Array, axes: tuple[int, ...], axis_name: AxisName) -> Moments:
    """Mean and variance in two passes, as exact as they are in three.

    The first mean is itself rounded: at mean 1000 by 3e-5, which the second pass finds in the differences. It also
    sums their squares, of which the square of that small correction is taken off. E[x²] - E[x]² would save a pass, and
    lose all digits where the mean is large beside the deviation.
    """
    rounded_mean = _average(x, axes, axis_name)
    shifted = x - rounded_mean
    correction, mean_square = _average((shifted, jnp.square(shifted)), axes, axis_name)
    variance = mean_square - jnp.square(correction)
    # Beside a larger deviation, the rounding of the differences, which is the same for many, outweighs the correction.
    is_far = jnp.square(rounded_mean) > variance
    mean = jnp.where(is_far, rounded_mean + correction, rounded_mean)
    return Moments(shifted - correction, mean, variance)


def _average(values: Arrays, axes: tuple[int, ...], axis_name: AxisName) -> Arrays:
    local = jax.tree.map(lambda array: jnp.mean(array, axis=axes, keepdims=True), values)
    return local if axis_name is None else lax.pmean(local, axis_name)
