"""A hyperbolic tangent as exact as PyTorch's."""

from functools import reduce

import jax
import jax.numpy as jnp

SERIES = (-0.005704042501747608, 0.020637862384319305, -0.05373915657401085, 0.133314311504364, -0.3333328068256378)
"""Least squares for (tanh(x) / x - 1) / x², highest power of x² first."""

SMALL = 0.625
"""The series is for smaller magnitudes. It errs by 2⁻²⁸ there, a sixteenth of float32's rounding."""


@jax.custom_jvp
def tanh(x: jax.Array) -> jax.Array:
    """`jnp.tanh`, which in float32 errs by up to four ulp on a CPU; this one by little more than one.

    A recurrent layer applies it hundreds of times in a row.
    """
    if x.dtype != jnp.float32:
        return jnp.tanh(x)
    magnitude, square = jnp.abs(x), jnp.square(x)
    series = x + x * (square * reduce(lambda total, factor: total * square + factor, SERIES))
    # Below 1 by so little that the quotient's own rounding does not count.
    saturating = 1 - 2 / (jnp.exp(2 * magnitude) + 1)
    return jnp.where(magnitude < SMALL, series, jnp.copysign(saturating, x))


@tanh.defjvp
def _tanh_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    y = tanh(*primals)
    return y, tangents[0] * (1 - jnp.square(y))
