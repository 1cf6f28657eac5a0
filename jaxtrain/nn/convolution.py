"""Convolutions."""

import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_choice
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

Padding = int | Sequence[int] | Literal["same", "valid"]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


def conv(
    input: Float[Array, "..."],
    kernel: Float[Array, "..."],
    bias: Float[Array, "out_channels"] | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Slide a kernel over the positions of each example and sum the products (a cross-correlation).

        y[t, o] = bias[o] + Σ_k Σ_c x[t · stride + k · dilation - padding, c] · kernel[k, c, o]

    Args:
        input: array with axes for examples, positions (one or more) and channels.
        kernel: array of shape (*kernel_size, in_channels // groups, out_channels), one size for each axis of positions.
        bias: vector of shape (out_channels,). Default None: no bias.
        stride: distance between two positions of the output, at least 1, for all axes or each. Default 1.
        padding: number of zeros on both sides, for all axes or each; "valid" for none, "same" for as many as keep the
            size, with an odd one at the end. Default 0.
        dilation: distance between two elements of the kernel, at least 1, for all axes or each. Default 1.
        groups: number of groups of channels that are convolved separately; it divides both numbers of channels.
            Default 1.
        axis: axis of the channels, in input and output. Default -1; 1 is PyTorch's layout.

    Returns:
        Array with the axes of the input, in the promoted dtype of the arguments. Along an axis, n positions become
        ⌊(n + 2 · padding - dilation · (size - 1) - 1) / stride⌋ + 1.

    Raises:
        TypeError: if the input is not floating-point, or a size is not an integer.
        ValueError: if a size does not fit or is out of range, or "same" is combined with a stride.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> signal, kernel = jnp.array([[[1.0], [2.0], [4.0], [8.0]]]), jnp.array([[[1.0]], [[-1.0]]])
        >>> print(nn.conv(signal, kernel, stride=2, padding=1).ravel())
        [-1. -2.  8.]

    PyTorch: `torch.nn.functional.conv1d`, `conv2d` and `conv3d`. Their `weight` has the shape (out_channels,
    in_channels // groups, *kernel_size). They also take an example without a batch axis; here the first axis always
    counts examples. On GPUs and TPUs, JAX may round the factors to fewer bits than float32 has, unless
    `jax_default_matmul_precision` is "highest".
    """
    input, kernel = as_floating("conv", input), as_floating("conv", kernel, "kernel")
    bias = as_floating_or_none("conv", "bias", bias)
    input, kernel, bias = promote_dtype((input, kernel, bias))
    check_kernel("conv", kernel)
    size, per_group, out_channels = kernel.shape[:-2], kernel.shape[-2], kernel.shape[-1]
    check_groups("conv", per_group * groups, out_channels, groups)
    check_bias("conv", bias, out_channels)
    layout("conv", input, kernel, per_group * groups, axis)
    stride = per_axis("conv", "stride", stride, len(size), 1)
    dilation = per_axis("conv", "dilation", dilation, len(size), 1)
    amounts = _both_sides("conv", padding, size, stride, dilation)
    return _convolved("conv", input, kernel, bias, stride, amounts, dilation, groups, axis)


class Conv(nnx.Module):
    """Slide a trained kernel over the positions of each example and sum the products (a cross-correlation).

        y[t, o] = bias[o] + Σ_k Σ_c x[t · stride + k · dilation - padding, c] · kernel[k, c, o]

    Kernel and bias start uniform in [-1/√n, 1/√n), where n = in_channels / groups · (size of the kernel).

    Args:
        in_channels: number of channels of the input.
        out_channels: number of channels of the output.
        kernel_size: size of the kernel along each axis of positions, as in (3, 3) for images; an integer for one axis.
        stride: distance between two positions of the output, at least 1, for all axes or each. Default 1.
        padding: amount of padding on both sides, for all axes or each; "valid" for none, "same" for as much as keeps
            the size, with an odd position at the end. Default 0.
        dilation: distance between two elements of the kernel, at least 1, for all axes or each. Default 1.
        groups: number of groups of channels that are convolved separately; it divides both numbers of channels.
            Default 1.
        bias: whether to add a bias. Default True.
        padding_mode: values in the padding: "zeros", "reflect", "replicate" or "circular". Default "zeros".
        axis: axis of the channels, in input and output. Default -1; 1 is PyTorch's layout.
        dtype: dtype of the computation. Default None: the promoted dtype of input and parameters.
        param_dtype: dtype of the parameters. Default float32.
        kernel_init: initializer of the kernel. Default None: as above.
        bias_init: initializer of the bias. Default None: as above.
        rngs: random streams; the parameters are drawn from `params`.

    Attributes:
        kernel: parameter of shape (*kernel_size, in_channels // groups, out_channels).
        bias: parameter of shape (out_channels,), or None.

    Returns:
        When called with an array of examples, positions and channels: an array with the same axes. Along an axis, n
        positions become ⌊(n + 2 · padding - dilation · (size - 1) - 1) / stride⌋ + 1.

    Raises:
        TypeError: if the input is not floating-point, or a size is not an integer.
        ValueError: if a size does not fit or is out of range, "same" is combined with a stride, or the padding is more
            than its mode can take from the input.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.Conv(3, 16, (3, 3), stride=2, padding=1, rngs=nnx.Rngs(0))
        >>> print(layer.kernel.shape, layer(jnp.ones((8, 28, 28, 3))).shape)
        (3, 3, 3, 16) (8, 14, 14, 16)

    PyTorch: `torch.nn.Conv1d`, `torch.nn.Conv2d` and `torch.nn.Conv3d`. Their `weight` has the shape (out_channels,
    in_channels // groups, *kernel_size), their `dtype` is `param_dtype` here, and their integer `kernel_size` stands
    for all axes. They also take an example without a batch axis; here the first axis always counts examples. On GPUs
    and TPUs, JAX may round the factors to fewer bits than float32 has, unless `jax_default_matmul_precision` is
    "highest".
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Padding = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        axis: int = -1,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        kernel_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        rngs: nnx.Rngs,
    ):
        check_groups("Conv", in_channels, out_channels, groups)
        check_flags("Conv", bias=bias)
        check_dtypes("Conv", param_dtype=param_dtype, dtype=dtype)
        check_rngs("Conv", rngs)
        check_choice("Conv", "padding_mode", padding_mode, ("zeros", "reflect", "replicate", "circular"))
        self.kernel_size = as_kernel_size("Conv", kernel_size)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = per_axis("Conv", "stride", stride, len(self.kernel_size), 1)
        self.dilation = per_axis("Conv", "dilation", dilation, len(self.kernel_size), 1)
        self.padding = _both_sides("Conv", padding, self.kernel_size, self.stride, self.dilation)
        self.groups = groups
        self.padding_mode: PaddingMode = padding_mode
        self.axis = axis
        self.dtype = dtype

        shape = (*self.kernel_size, in_channels // groups, out_channels)
        bound = 1 / math.sqrt(math.prod(shape[:-1]))
        default_init = initializers.uniform(-bound, bound)
        kernel_init, bias_init = kernel_init or default_init, bias_init or default_init
        self.kernel = nnx.Param(initialized("Conv", "kernel_init", kernel_init, rngs, shape, param_dtype))
        self.bias = nnx.data(
            nnx.Param(initialized("Conv", "bias_init", bias_init, rngs, (out_channels,), param_dtype)) if bias else None
        )

    @named
    def __call__(self, input: Float[Array, "..."]) -> Float[Array, "..."]:
        input = as_floating("Conv", input)
        input, kernel, bias = promote_dtype((input, self.kernel[...], value(self.bias)), dtype=self.dtype)
        layout("Conv", input, kernel, self.in_channels, self.axis)
        padding = self.padding
        if self.padding_mode != "zeros":
            input = _padded("Conv", input, padding, self.padding_mode, self.axis % input.ndim)
            padding = ((0, 0),) * len(padding)
        return _convolved("Conv", input, kernel, bias, self.stride, padding, self.dilation, self.groups, self.axis)


def _convolved(
    where: str,
    input: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None,
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int,
    axis: int,
) -> jax.Array:
    """The convolution of checked arguments, padded with zeros."""
    in_channels, size = kernel.shape[-2] * groups, kernel.shape[:-2]
    axes = layout(where, input, kernel, in_channels, axis)
    window = Window(stride, padding, dilation, groups, axes, spread=(1,) * len(size))
    output = window.apply(input, kernel, bias, axis)
    if 0 in output.shape[1:]:
        raise ValueError(
            f"{where}: a kernel of size {size} is too large for an input of shape {input.shape}: the output would have "
            f"shape {output.shape}; use more padding or a smaller kernel"
        )
    return output


def _both_sides(
    where: str, padding: Padding, size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """The amounts of padding before and after the positions of each axis."""
    if isinstance(padding, str):
        check_choice(where, "padding", padding, ("same", "valid"))
        if padding == "valid":
            return ((0, 0),) * len(size)
        if any(step != 1 for step in stride):
            raise ValueError(f'{where}: padding="same" keeps the size only with stride 1, got stride {stride}')
        totals = [d * (k - 1) for k, d in zip(size, dilation, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple((amount, amount) for amount in per_axis(where, "padding", padding, len(size), 0))


def _padded(
    where: str, input: jax.Array, amounts: Sequence[tuple[int, int]], mode: PaddingMode, axis: int
) -> jax.Array:
    """`input` with its padding."""
    widths = [(0, 0), *amounts]
    widths.insert(axis, (0, 0))
    # The input can be used once: n positions give n - 1 reflected or n repeated ones.
    spare = {"reflect": 1, "replicate": -math.inf, "circular": 0}[mode]
    for width, positions in zip(widths, input.shape, strict=True):
        if max(width) > max(positions - spare, 0):
            raise ValueError(f"{where}: padding {max(width)} in mode {mode!r} is too much for {positions} positions")
    return jnp.pad(input, widths, mode={"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode])
