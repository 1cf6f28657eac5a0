"""Arguments of convolutions: one number for all spatial axes, or one for each."""

from collections.abc import Sequence

import jax
import numpy as np
from jax import lax

from jaxtrain._ground.checks import check_integer
from jaxtrain.nn._arrays import channel_axis, check_channels


def per_axis(where: str, name: str, given: int | Sequence[int], count: int, low: int) -> tuple[int, ...]:
    """`given` as one integer for each of `count` spatial axes, each at least `low`; a single one is for all axes."""
    numbers = tuple(given) if np.iterable(given) else (given,)
    numbers = numbers * count if len(numbers) == 1 else numbers
    if len(numbers) != count:
        raise ValueError(
            f"{where}: {name} must be an integer, or one for each of the {count} axes of the kernel, got {given!r}"
        )
    return tuple(check_integer(where, name, number, low) for number in numbers)


def as_kernel_size(where: str, kernel_size: int | Sequence[int]) -> tuple[int, ...]:
    """`kernel_size` as a tuple; an integer becomes a tuple of one size."""
    sizes = tuple(kernel_size) if np.iterable(kernel_size) else (kernel_size,)
    if not sizes:
        raise ValueError(f"{where}: kernel_size must name at least one axis, got {kernel_size!r}")
    return tuple(check_integer(where, "kernel_size", size, 1) for size in sizes)


def check_kernel(where: str, kernel: jax.Array) -> None:
    """Raise `ValueError` unless the kernel has at least one spatial axis, and none of them is empty."""
    if kernel.ndim < 3 or 0 in kernel.shape[:-2]:
        raise ValueError(f"{where}: kernel must have a shape (*kernel_size, channels, channels), got {kernel.shape}")


def check_bias(where: str, bias: jax.Array | None, out_channels: int) -> None:
    """Raise `ValueError` unless the bias, if given, has one element per channel of the output."""
    if bias is not None and bias.shape != (out_channels,):
        raise ValueError(
            f"{where}: bias must have the shape ({out_channels},) of the output channels, got {bias.shape}"
        )


def check_groups(where: str, in_channels: int, out_channels: int, groups: int) -> None:
    """Raise unless the sizes are positive integers and `groups` divides both numbers of channels."""
    check_integer(where, "in_channels", in_channels, 1)
    check_integer(where, "out_channels", out_channels, 1)
    check_integer(where, "groups", groups, 1)
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"{where}: groups must divide in_channels and out_channels, got {groups} groups, {in_channels} and "
            f"{out_channels} channels"
        )


def layout(where: str, input: jax.Array, kernel: jax.Array, in_channels: int, axis: int) -> lax.ConvDimensionNumbers:
    """The axes of examples, channels and positions, which are the same in input and output.

    Raises:
        ValueError: if the input does not have as many spatial axes as the kernel, or `in_channels` channels, or if its
            examples are empty.
    """
    spatial = kernel.ndim - 2
    if input.ndim != spatial + 2:
        raise ValueError(
            f"{where}: a kernel of size {kernel.shape[:-2]} needs an input with axes for examples, channels and "
            f"{spatial} for positions, got shape {input.shape}; kernel_size has one number for each axis of positions, "
            "as in (3, 3) for images, and a single example needs a batch axis, as in x[None]"
        )
    check_channels(where, input, axis, in_channels)
    axis = channel_axis(where, input, axis)
    if input.shape[0] != 0 and 0 in input.shape[1:axis] + input.shape[axis + 1 :]:
        raise ValueError(f"{where}: expected examples with positions, got an input of shape {input.shape}")
    positions = "".join(map(str, range(spatial)))
    axes = [*"N", *positions]
    axes.insert(axis, "C")
    named = "".join(axes)
    return lax.conv_dimension_numbers(input.shape, kernel.shape, (named, f"{positions}IO", named))
