"""Centring and scaling by an array's own mean and variance, the heart of all norms but RMSNorm."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

AxisName = str | tuple[str, ...] | None


class Standardized(NamedTuple):
    """(x - mean) / √(variance + eps) · scale, and the statistics, with the reduced axes kept at size one."""

    output: jax.Array
    mean: jax.Array
    variance: jax.Array


def standardize(
    x: jax.Array,
    axes: tuple[int, ...],
    eps: float,
    *,
    scale: jax.Array | None = None,
    axis_name: AxisName = None,
) -> Standardized:
    """Bring `x` to mean 0 and deviation `scale` over `axes`, and over the mapped axes `axis_name`.

    `scale` must be constant over `axes`. None stands for 1.
    """
    return _standardize(x, jnp.ones((), x.dtype) if scale is None else scale, axes, eps, axis_name)


@partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def _standardize(
    x: jax.Array, scale: jax.Array, axes: tuple[int, ...], eps: float, axis_name: AxisName
) -> Standardized:
    """As `standardize`."""
    centred, mean, variance = _centred(x, axes, axis_name)
    return Standardized(centred * (scale / jnp.sqrt(variance + eps)), mean, variance)


@_standardize.defjvp
def _standardize_jvp(
    axes: tuple[int, ...],
    eps: float,
    axis_name: AxisName,
    primals: tuple[jax.Array, jax.Array],
    tangents: tuple[jax.Array, jax.Array],
) -> tuple[Standardized, Standardized]:
    """The derivative that autodiff would find, in the order whose transpose rounds least.

    Backwards, a gradient is first centred, then freed of its part along the output, and scaled last. In autodiff's
    order, large parts are scaled and rounded before they cancel, which costs two digits more than one would like:
    up to six times PyTorch's error, which sums in float64.
    """
    (x, scale), (x_tangent, scale_tangent) = primals, tangents
    result = _standardize(x, scale, axes, eps, axis_name)
    centred, _, variance = _centred(x, axes, axis_name)
    deviation = jnp.sqrt(variance + eps)
    # Divided, not multiplied by an inverse: that would be rounded once for all, an error that no sum averages out.
    unscaled = centred / deviation

    scaled = x_tangent * (scale / deviation)
    across = scaled - unscaled * _average(unscaled * scaled, axes, axis_name)
    return result, Standardized(
        output=across - _average(across, axes, axis_name) + unscaled * scale_tangent,
        mean=_average(x_tangent, axes, axis_name),
        variance=2 * deviation * _average(unscaled * x_tangent, axes, axis_name),
    )


def _centred(x: jax.Array, axes: tuple[int, ...], axis_name: AxisName) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The data less their mean, the mean, and the variance.

    The variance is the mean square of the centred data, never E[x²] - E[x]², which loses all digits where the mean
    is large beside the deviation. The data are centred twice, because the first mean is itself rounded: at mean 1000
    by 3e-5, which the second mean still finds in the differences.
    """
    rounded_mean = _average(x, axes, axis_name)
    shifted = x - rounded_mean
    correction = _average(shifted, axes, axis_name)
    centred = shifted - correction
    return centred, rounded_mean + correction, _average(jnp.square(centred), axes, axis_name)


def _average(values: jax.Array, axes: tuple[int, ...], axis_name: AxisName) -> jax.Array:
    local = jnp.mean(values, axis=axes, keepdims=True)
    return local if axis_name is None else lax.pmean(local, axis_name)
