"""Convolutions whose gradients run as fast inside a loop on a CPU as outside.

There XLA hands a convolution to Eigen if the channels come last, and computes one in another layout product by product.
The gradients that JAX finds have other layouts, so they are written out here. Each is given as a linear map of which it
is the transpose: so forward mode and further derivatives work as well. Over a mesh with explicit axes and in
`shard_map`, where the types of arrays say how they lie, the gradients are JAX's.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType
from jax.typing import DTypeLike

from jaxtrain._ground.sums import is_small
from jaxtrain.nn._products import Multiply, Product, affine

Amounts = tuple[tuple[int, int], ...]


class Window(NamedTuple):
    """How a kernel slides over the positions.

    Attributes:
        stride: along each axis of positions.
        padding: before and after them.
        dilation: of the kernel.
        groups: of channels.
        axes: which axes of input, kernel and output are which.
        spread: distance between two positions of the input, with zeros between them.
    """

    stride: tuple[int, ...]
    padding: Amounts
    dilation: tuple[int, ...]
    groups: int
    axes: lax.ConvDimensionNumbers
    spread: tuple[int, ...]

    def convolve(
        self, input: jax.Array, kernel: jax.Array, *, preferred_element_type: DTypeLike | None = None
    ) -> jax.Array:
        """The convolution."""
        return lax.conv_general_dilated(
            input,
            kernel,
            self.stride,
            self.padding,
            lhs_dilation=self.spread,
            rhs_dilation=self.dilation,
            dimension_numbers=self.axes,
            feature_group_count=self.groups,
            preferred_element_type=preferred_element_type,
        )

    def apply(self, input: jax.Array, kernel: jax.Array, bias: jax.Array | None, axis: int) -> jax.Array:
        """The convolution plus the bias along `axis`, rounded once to the dtype of the input."""
        size = kernel.shape[:-2]
        product: Product | Multiply = self.convolve
        if self.axes.lhs_spec[1] == len(size) + 1 and self.groups == 1:  # The channels come last.
            if size == self.spread == (1,) * len(size) and self.padding == ((0, 0),) * len(size):
                return affine(self._multiply, input, kernel, bias, axis)
            if not _is_on_a_mesh(input) and not _is_on_a_mesh(kernel):
                product = Product(self.convolve, self._of_input, self._of_kernel)
        return affine(product, input, kernel, bias, axis, sums_in_float64=is_small(input))

    def _multiply(
        self, input: jax.Array, kernel: jax.Array, *, preferred_element_type: DTypeLike | None = None
    ) -> jax.Array:
        """The convolution with a kernel of one position: a matrix product, which is faster on a CPU."""
        reached = input[:, *(slice(None, None, step) for step in self.stride)]
        return jnp.matmul(reached, kernel.reshape(kernel.shape[-2:]), preferred_element_type=preferred_element_type)

    def _of_input(self, input: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.platform_dependent(input, kernel, cpu=self._of_input_on_cpu, default=self.convolve)

    def _of_kernel(self, input: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.platform_dependent(input, kernel, cpu=self._of_kernel_on_cpu, default=self.convolve)

    def _of_input_on_cpu(self, input: jax.Array, kernel: jax.Array) -> jax.Array:
        """`convolve`, of which the transpose by the input slides the mirrored kernel over the gradient."""
        outputs = jax.eval_shape(self.convolve, input, kernel)
        mirrored = _as_it_is(jnp.flip(kernel, range(kernel.ndim - 2)).swapaxes(-1, -2))
        _, ends = self._ends(input, kernel, outputs)
        over_gradient = self._replace(stride=self.spread, padding=ends, spread=self.stride)
        (output,) = jax.linear_transpose(lambda gradient: over_gradient.convolve(gradient, mirrored), outputs)(input)
        return output

    def _of_kernel_on_cpu(self, input: jax.Array, kernel: jax.Array) -> jax.Array:
        """`convolve`, of which the transpose by the kernel slides gradient and input over each other.

        Channels stand in place of examples there, and examples in place of channels. XLA slides the one with fewer
        positions and changes the layout if it is given the other, so it is given that one.
        """
        outputs = jax.eval_shape(self.convolve, input, kernel)
        around_input, around_gradient = self._ends(input, kernel, outputs)
        over_input = self._replace(stride=self.dilation, padding=around_input, dilation=self.stride)
        over_gradient = self._replace(
            stride=self.dilation, padding=around_gradient, dilation=self.spread, spread=self.stride
        )
        positions, places = math.prod(input.shape[1:-1]), math.prod(outputs.shape[1:-1])

        def gradient_of_kernel(gradient: jax.Array) -> jax.Array:
            if isinstance(positions, int) and isinstance(places, int) and positions < places:
                window, images = _as_it_is(jnp.moveaxis(input, 0, -2)), _as_it_is(gradient.swapaxes(0, -1))
                slid = _as_it_is(over_gradient.convolve(images, window))
                return jnp.flip(jnp.moveaxis(slid, 0, -1), range(kernel.ndim - 2))
            window, images = _as_it_is(jnp.moveaxis(gradient, 0, -2)), _as_it_is(input.swapaxes(0, -1))
            return jnp.moveaxis(_as_it_is(over_input.convolve(images, window)), 0, -2)

        (output,) = jax.linear_transpose(gradient_of_kernel, outputs)(kernel)
        return output

    def _ends(self, input: jax.Array, kernel: jax.Array, outputs: jax.ShapeDtypeStruct) -> tuple[Amounts, Amounts]:
        """How to pad the input or the gradient so that the other one, or the kernel, slides over it."""
        steps = self.spread, self.dilation, self.stride
        sizes = input.shape[1:-1], kernel.shape[:-2], outputs.shape[1:-1]
        # From the first to the last position, element of the kernel, or place of its first element.
        positions, elements, places = (
            [step * (size - 1) for step, size in zip(*pair, strict=True)] for pair in zip(steps, sizes, strict=True)
        )
        around_input, around_gradient = [], []
        for position, element, place, (low, _) in zip(positions, elements, places, self.padding, strict=True):
            around_input.append((low, element + place - position - low))
            around_gradient.append((element - low, position - place + low))
        return tuple(around_input), tuple(around_gradient)


def _is_on_a_mesh(array: jax.Array) -> bool:
    """Whether its type says how it lies on the axes of a mesh."""
    return any(kind != AxisType.Auto for kind in jax.typeof(array).sharding.mesh.axis_types)


def _as_it_is(array: jax.Array) -> jax.Array:
    """`array`, written to memory: XLA would otherwise put a transposition back into the convolution's layout."""
    return lax.optimization_barrier(array)
