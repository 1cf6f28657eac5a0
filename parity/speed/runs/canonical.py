"""A convolution whose gradients are convolutions in the layout that XLA knows best.

Inside a loop on a CPU, XLA computes convolutions in other layouts one product at a time (JAX 0.10.2). The transposes
stand behind barriers, or XLA would put them back into the convolutions.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolve(kernel: jax.Array, x: jax.Array, stride: int) -> jax.Array:
    """The convolution of a batch of square images, padded so that a stride of 1 keeps their size."""
    if kernel.shape[0] == 1:
        return x[:, ::stride, ::stride] @ kernel[0, 0]
    return _convolve(kernel, x, stride)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(kernel: jax.Array, x: jax.Array, stride: int) -> jax.Array:
    margin = kernel.shape[0] // 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), [(margin, margin)] * 2, dimension_numbers=_LAYOUT)


def _forward(kernel: jax.Array, x: jax.Array, stride: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _convolve(kernel, x, stride), (kernel, x)


def _backward(stride: int, kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    kernel, x = kept
    size, margin = kernel.shape[0], kernel.shape[0] // 2
    span = (gradient.shape[1] - 1) * stride + 1  # Pixels of the input from the first to the last place of the kernel.
    turned = lax.optimization_barrier(jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
    low = size - 1 - margin
    of_x = lax.conv_general_dilated(
        gradient,
        turned,
        (1, 1),
        [(low, x.shape[1] + size - 1 - span - low)] * 2,
        lhs_dilation=(stride, stride),
        dimension_numbers=_LAYOUT,
    )
    # Channels in place of examples, and examples in place of channels.
    images = lax.optimization_barrier(x.transpose(3, 1, 2, 0))
    window = lax.optimization_barrier(gradient.transpose(1, 2, 0, 3))
    of_kernel = lax.conv_general_dilated(
        images,
        window,
        (1, 1),
        [(margin, size - 1 + span - x.shape[1] - margin)] * 2,
        rhs_dilation=(stride, stride),
        dimension_numbers=_LAYOUT,
    )
    return lax.optimization_barrier(of_kernel).transpose(1, 2, 0, 3), of_x


_convolve.defvjp(_forward, _backward)
