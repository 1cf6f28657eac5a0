"""Products with a kernel, and a bias, that are rounded as rarely as PyTorch rounds them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.float64 import as_float64
from jaxtrain.nn._arrays import add_bias

Multiply = Callable[..., jax.Array]
"""A function of an input and a kernel, linear in each, that takes `preferred_element_type`."""


def affine(
    multiply: Multiply,
    input: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None,
    axis: int = -1,
    *,
    sums_in_float64: bool = False,
) -> jax.Array:
    """The product of `input` and `kernel` plus the bias, rounded once to the dtype of the input.

    Args:
        multiply: the product.
        input: array of floats.
        kernel: array of the input's dtype.
        bias: vector of the input's dtype along `axis` of the product, or None.
        axis: axis of the bias.
        sums_in_float64: whether to compute a float32 kernel's gradient in float64. XLA adds the products of a
            convolution one after the other, which errs more than PyTorch; a large input would cost too much time.
    """
    is_half = at_least_float32(input.dtype) != input.dtype
    if (is_half and bias is not None) or (sums_in_float64 and input.dtype == jnp.float32):
        output = _product(multiply, input, kernel)
    else:
        output = multiply(input, kernel)
    return add_bias(output, bias, axis).astype(input.dtype)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _product(multiply: Multiply, input: jax.Array, kernel: jax.Array) -> jax.Array:
    """The product in at least float32, with its derivative by a float32 kernel in float64."""
    return multiply(input, kernel, preferred_element_type=at_least_float32(input.dtype))


@partial(_product.defjvp, symbolic_zeros=True)
def _product_jvp(
    multiply: Multiply, primals: tuple[jax.Array, ...], tangents: tuple[Any, ...]
) -> tuple[jax.Array, jax.Array]:
    """Tangents are computed in the dtype of the input, and so are the gradients into which they are transposed."""
    (input, kernel), (input_tangent, kernel_tangent) = primals, tangents
    output = _product(multiply, input, kernel)
    tangent = jnp.zeros_like(output)
    if not isinstance(input_tangent, SymbolicZero):
        tangent += multiply(input_tangent, kernel).astype(output.dtype)
    if not isinstance(kernel_tangent, SymbolicZero):
        if input.dtype != jnp.float32:
            product = multiply(input, kernel_tangent)
        else:
            with jax.enable_x64(True):
                product = multiply(as_float64(input), as_float64(kernel_tangent))
        tangent += lax.convert_element_type(product, output.dtype)
    return output, tangent
