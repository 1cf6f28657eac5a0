"""Products with a kernel, and a bias, that are rounded as rarely as PyTorch rounds them."""

import functools
import operator
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.typing import DTypeLike

from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.float64 import as_float64
from jaxtrain.nn._arrays import add_bias

Multiply = Callable[..., jax.Array]
"""A function of an input and a kernel, linear in each, that takes `preferred_element_type`."""


class Product(NamedTuple):
    """A product of an input and a kernel, linear in each.

    Attributes:
        multiply: the product.
        of_input: the product as a function of the input, of which the gradient is the transpose.
        of_kernel: the same of the kernel.
    """

    multiply: Multiply
    of_input: Multiply
    of_kernel: Multiply


def affine(
    product: Product | Multiply,
    input: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None,
    axis: int = -1,
    *,
    sums_in_float64: bool = False,
) -> jax.Array:
    """The product of `input` and `kernel` plus the bias, rounded once to the dtype of the input.

    Args:
        product: the product; of a function alone, the gradients are those that JAX finds.
        input: array of floats.
        kernel: array of the input's dtype.
        bias: vector of the input's dtype along `axis` of the product, or None.
        axis: axis of the bias.
        sums_in_float64: whether to compute a float32 kernel's gradient in float64. XLA adds the products of a
            convolution one after the other, which errs more than PyTorch; a large input would cost too much time.
    """
    dtype = input.dtype if bias is None else at_least_float32(input.dtype)
    in_float64 = sums_in_float64 and input.dtype == jnp.float32
    if not isinstance(product, Product):
        if dtype == input.dtype and not in_float64:
            return add_bias(product(input, kernel), bias, axis)
        product = Product(product, product, product)
    output = _product(product, dtype, in_float64, input, kernel)
    return add_bias(output, bias, axis).astype(input.dtype)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _product(product: Product, dtype: DTypeLike, in_float64: bool, input: jax.Array, kernel: jax.Array) -> jax.Array:
    """The product in a dtype, with its derivative by the kernel in float64 if asked for."""
    return product.multiply(input, kernel, preferred_element_type=dtype)


@partial(_product.defjvp, symbolic_zeros=True)
def _product_jvp(
    product: Product, dtype: DTypeLike, in_float64: bool, primals: tuple[jax.Array, ...], tangents: tuple[Any, ...]
) -> tuple[jax.Array, jax.Array]:
    """Tangents are computed in the dtype of the input, and so are the gradients into which they are transposed."""
    (input, kernel), (input_tangent, kernel_tangent) = primals, tangents
    output = _product(product, dtype, in_float64, input, kernel)
    terms = []
    if not isinstance(input_tangent, SymbolicZero):
        terms.append(product.of_input(input_tangent, kernel))
    if not isinstance(kernel_tangent, SymbolicZero):
        if in_float64:
            with jax.enable_x64(True):
                terms.append(product.of_kernel(as_float64(input), as_float64(kernel_tangent)))
        else:
            terms.append(product.of_kernel(input, kernel_tangent))
    return output, functools.reduce(operator.add, (lax.convert_element_type(term, output.dtype) for term in terms))
