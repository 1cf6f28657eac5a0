"""Transposed convolutions."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxtrain.nn import initializers
from jaxtrain.nn._arrays import (
    as_floating,
    as_floating_or_none,
    check_dtypes,
    check_flags,
    check_rngs,
    initialized,
    value,
)
from jaxtrain.nn._convolve import Window
from jaxtrain.nn._named import named
from jaxtrain.nn._spatial import (
    as_kernel_size,
    check_bias,
    check_groups,
    check_kernel,
    layout,
    per_axis,
)


def conv_transpose(
    input: Float[Array, "..."],
    kernel: Float[Array, "..."],
    bias: Float[Array, "out_channels"] | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Spread each position over the output by a kernel (the gradient of `nn.conv` with respect to its input).

        y[s, o] = bias[o] + Σ_t Σ_k Σ_c x[t, c] · kernel[k, o, c] where t · stride + k · dilation - padding = s

    Args:
        input: array with axes for examples, positions (one or more) and channels.
        kernel: array of shape (*kernel_size, out_channels // groups, in_channels): the kernel of the convolution whose
            gradient this is.
        bias: vector of shape (out_channels,). Default None: no bias.
        stride: distance in the output between two positions of the input, at least 1, for all axes or each. Default 1.
        padding: number of positions removed from both ends of the output, for all axes or each. Default 0.
        output_padding: number of positions added at the end of the output, below the stride or the dilation, for all
            axes or each. Default 0.
        groups: number of groups of channels that are convolved separately; it divides both numbers of channels.
            Default 1.
        dilation: distance between two elements of the kernel, at least 1, for all axes or each. Default 1.
        axis: axis of the channels, in input and output. Default -1; 1 is PyTorch's layout.

    Returns:
        Array with the axes of the input, in the promoted dtype of the arguments. Along an axis, n positions become
        (n - 1) · stride - 2 · padding + dilation · (size - 1) + output_padding + 1.

    Raises:
        TypeError: if the input is not floating-point, or a size is not an integer.
        ValueError: if a size does not fit or is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> signal, kernel = jnp.array([[[1.0], [10.0]]]), jnp.array([[[1.0]], [[2.0]], [[3.0]]])
        >>> print(nn.conv_transpose(signal, kernel, stride=2).ravel())
        [ 1.  2. 13. 20. 30.]

    PyTorch: `torch.nn.functional.conv_transpose1d`, `conv_transpose2d` and `conv_transpose3d`. Their `weight` has the
    shape (in_channels, out_channels // groups, *kernel_size). They also take an example without a batch axis; here the
    first axis always counts examples. On GPUs and TPUs, JAX may round the factors to fewer bits than float32 has,
    unless `jax_default_matmul_precision` is "highest".
    """
    input, kernel = as_floating("conv_transpose", input), as_floating("conv_transpose", kernel, "kernel")
    bias = as_floating_or_none("conv_transpose", "bias", bias)
    input, kernel, bias = promote_dtype((input, kernel, bias))
    check_kernel("conv_transpose", kernel)
    size, per_group, in_channels = kernel.shape[:-2], kernel.shape[-2], kernel.shape[-1]
    check_groups("conv_transpose", in_channels, per_group * groups, groups)
    check_bias("conv_transpose", bias, per_group * groups)
    axes = layout("conv_transpose", input, kernel, in_channels, axis)
    stride = per_axis("conv_transpose", "stride", stride, len(size), 1)
    dilation = per_axis("conv_transpose", "dilation", dilation, len(size), 1)
    padding = per_axis("conv_transpose", "padding", padding, len(size), 0)
    output_padding = per_axis("conv_transpose", "output_padding", output_padding, len(size), 0)
    _check_output_padding("conv_transpose", output_padding, stride, dilation)
    positions = [input.shape[along] for along in axes.lhs_spec[2:]]
    shortest = _shortest(positions, size, stride, padding, dilation)
    lengths = tuple(least + extra for least, extra in zip(shortest, output_padding, strict=True))
    if any(isinstance(length, int) and length < 1 for length in lengths):
        raise ValueError(
            f"conv_transpose: padding {padding} is too much for an input of shape {input.shape}: the output would have "
            f"{lengths} positions; use less padding or a larger kernel"
        )

    # Sliding the mirrored kernel over the input, spread by the stride, sums the same products.
    reaches = [d * (k - 1) - p for k, d, p in zip(size, dilation, padding, strict=True)]
    ends = tuple((reach, reach + extra) for reach, extra in zip(reaches, output_padding, strict=True))
    window = Window((1,) * len(size), ends, dilation, groups, axes, spread=stride)
    return window.apply(input, _mirrored(kernel, groups), bias, axis)


class ConvTranspose(nnx.Module):
    """Spread each position over the output by a trained kernel (the gradient of `nn.Conv` with respect to its input).

        y[s, o] = bias[o] + Σ_t Σ_k Σ_c x[t, c] · kernel[k, o, c] where t · stride + k · dilation - padding = s

    Kernel and bias start uniform in [-1/√n, 1/√n), where n = out_channels / groups · (size of the kernel), as in
    PyTorch.

    Args:
        in_channels: number of channels of the input.
        out_channels: number of channels of the output.
        kernel_size: size of the kernel along each axis of positions, as in (3, 3) for images; an integer for one axis.
        stride: distance in the output between two positions of the input, at least 1, for all axes or each. Default 1.
        padding: number of positions removed from both ends of the output, for all axes or each. Default 0.
        output_padding: number of positions added at the end of the output, below the stride or the dilation, for all
            axes or each. Default 0.
        groups: number of groups of channels that are convolved separately; it divides both numbers of channels.
            Default 1.
        bias: whether to add a bias. Default True.
        dilation: distance between two elements of the kernel, at least 1, for all axes or each. Default 1.
        axis: axis of the channels, in input and output. Default -1; 1 is PyTorch's layout.
        dtype: dtype of the computation. Default None: the promoted dtype of input and parameters.
        param_dtype: dtype of the parameters. Default float32.
        kernel_init: initializer of the kernel. Default None: as above.
        bias_init: initializer of the bias. Default None: as above.
        rngs: random streams; the parameters are drawn from `params`.

    Attributes:
        kernel: parameter of shape (*kernel_size, out_channels // groups, in_channels).
        bias: parameter of shape (out_channels,), or None.

    Returns:
        When called with an array of examples, positions and channels: an array with the same axes. Along an axis, n
        positions become (n - 1) · stride - 2 · padding + dilation · (size - 1) + output_padding + 1. `output_size=`,
        the wanted number of positions along each axis, overrides `output_padding`.

    Raises:
        TypeError: if the input is not floating-point, or a size is not an integer.
        ValueError: if a size does not fit or is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.ConvTranspose(16, 3, (4, 4), stride=2, padding=1, rngs=nnx.Rngs(0))
        >>> print(layer.kernel.shape, layer(jnp.ones((8, 14, 14, 16))).shape)
        (4, 4, 3, 16) (8, 28, 28, 3)

    PyTorch: `torch.nn.ConvTranspose1d`, `torch.nn.ConvTranspose2d` and `torch.nn.ConvTranspose3d`. Their `weight` has
    the shape (in_channels, out_channels // groups, *kernel_size), their `dtype` is `param_dtype` here, and their
    integer `kernel_size` stands for all axes. They also take an example without a batch axis; here the first axis
    always counts examples. Their `padding_mode` accepts only "zeros" and is omitted here. On GPUs and TPUs, JAX may
    round the factors to fewer bits than float32 has, unless `jax_default_matmul_precision` is "highest".
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        *,
        axis: int = -1,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        kernel_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        rngs: nnx.Rngs,
    ):
        check_groups("ConvTranspose", in_channels, out_channels, groups)
        check_flags("ConvTranspose", bias=bias)
        check_dtypes("ConvTranspose", param_dtype=param_dtype, dtype=dtype)
        check_rngs("ConvTranspose", rngs)
        self.kernel_size = as_kernel_size("ConvTranspose", kernel_size)
        self.in_channels = in_channels
        self.out_channels = out_channels
        axes = len(self.kernel_size)
        self.stride = per_axis("ConvTranspose", "stride", stride, axes, 1)
        self.padding = per_axis("ConvTranspose", "padding", padding, axes, 0)
        self.output_padding = per_axis("ConvTranspose", "output_padding", output_padding, axes, 0)
        self.dilation = per_axis("ConvTranspose", "dilation", dilation, axes, 1)
        _check_output_padding("ConvTranspose", self.output_padding, self.stride, self.dilation)
        self.groups = groups
        self.axis = axis
        self.dtype = dtype

        shape = (*self.kernel_size, out_channels // groups, in_channels)
        bound = 1 / math.sqrt(math.prod(shape[:-1]))
        default_init = initializers.uniform(-bound, bound)
        kernel_init, bias_init = kernel_init or default_init, bias_init or default_init
        self.kernel = nnx.Param(initialized("ConvTranspose", "kernel_init", kernel_init, rngs, shape, param_dtype))
        self.bias = nnx.data(
            nnx.Param(initialized("ConvTranspose", "bias_init", bias_init, rngs, (out_channels,), param_dtype))
            if bias
            else None
        )

    @named
    def __call__(self, input: Float[Array, "..."], output_size: Sequence[int] | None = None) -> Float[Array, "..."]:
        input = as_floating("ConvTranspose", input)
        input, kernel, bias = promote_dtype((input, self.kernel[...], value(self.bias)), dtype=self.dtype)
        layout("ConvTranspose", input, kernel, self.in_channels, self.axis)
        extra = self.output_padding if output_size is None else self._padding_for(input, tuple(output_size))
        return conv_transpose(
            input, kernel, bias, self.stride, self.padding, extra, self.groups, self.dilation, axis=self.axis
        )

    def _padding_for(self, input: jax.Array, output_size: tuple[int, ...]) -> tuple[int, ...]:
        """The output padding that gives `output_size` positions; raise `ValueError` if there is none."""
        positions = [size for axis, size in enumerate(input.shape) if axis not in (0, self.axis % input.ndim)]
        smallest = _shortest(positions, self.kernel_size, self.stride, self.padding, self.dilation)
        extra = tuple(wanted - least for wanted, least in zip(output_size, smallest, strict=False))
        if len(output_size) != len(smallest) or any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            largest = tuple(least + s - 1 for least, s in zip(smallest, self.stride, strict=True))
            raise ValueError(
                f"ConvTranspose: output_size must lie between {smallest} and {largest} for an input of shape "
                f"{input.shape}, got {output_size}"
            )
        return extra


def _shortest(
    positions: Sequence[int],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[int, ...]:
    """The positions of the output along each axis without output padding."""
    numbers = zip(positions, size, stride, padding, dilation, strict=True)
    return tuple((n - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in numbers)


def _check_output_padding(
    where: str, output_padding: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> None:
    if any(extra >= max(s, d) for extra, s, d in zip(output_padding, stride, dilation, strict=True)):
        raise ValueError(
            f"{where}: output_padding must be below the stride or the dilation, got {output_padding} with "
            f"stride {stride} and dilation {dilation}"
        )


def _mirrored(kernel: jax.Array, groups: int) -> jax.Array:
    """The reversed kernel of a convolution (*size, in // groups, out) from one of shape (*size, out // groups, in)."""
    *size, out_per_group, in_channels = kernel.shape
    by_group = jnp.flip(kernel, range(len(size))).reshape(*size, out_per_group, groups, in_channels // groups)
    return jnp.swapaxes(by_group, -3, -1).reshape(*size, in_channels // groups, groups * out_per_group)
