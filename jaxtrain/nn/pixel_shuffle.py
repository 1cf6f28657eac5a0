"""Channels that become positions, positions that become channels, and channels in another order."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from jaxtrain._ground.arrays import as_array
from jaxtrain._ground.checks import check_integer
from jaxtrain.nn._arrays import channel_axis


def pixel_shuffle(input: Shaped[Array, "..."], upscale_factor: int, *, axis: int = -1) -> Shaped[Array, "..."]:
    """Turn channels of images into positions.

        y[h · r + i, w · r + j, c] = x[h, w, c · r² + i · r + j]

    Args:
        input: array with axes for examples, rows, columns and channels.
        upscale_factor: factor r of rows and columns, at least 1.
        axis: axis of the channels, in input and output. Default -1; 1 is PyTorch's layout.

    Returns:
        Array with r times as many rows and columns, and 1 / r² of the channels.

    Raises:
        TypeError: if the factor is not an integer.
        ValueError: if r² does not divide the number of channels, or the input does not have four axes.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.pixel_shuffle(jnp.arange(4).reshape(1, 1, 1, 4), 2).squeeze())
        [[0 1]
         [2 3]]

    PyTorch: `torch.nn.functional.pixel_shuffle` and `torch.nn.PixelShuffle`. They also take an example without a batch
    axis.

    Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
    Neural Network", 2016, https://arxiv.org/abs/1609.05158
    """
    r = check_integer("pixel_shuffle", "upscale_factor", upscale_factor, 1)
    x, axis = _images("pixel_shuffle", input, axis)
    n, h, w, channels = x.shape
    if channels % r**2:
        raise ValueError(
            f"pixel_shuffle: the {channels} channels along axis {axis} must be a multiple of upscale_factor² = {r**2}; "
            "if the channels lie on another axis, pass axis="
        )
    shuffled = x.reshape(n, h, w, channels // r**2, r, r).transpose(0, 1, 4, 2, 5, 3)
    # Explicit axes of a mesh let a reshape change one dimension at a time.
    shuffled = shuffled.reshape(n, h * r, w, r, channels // r**2).reshape(n, h * r, w * r, channels // r**2)
    return jnp.moveaxis(shuffled, -1, axis)


def pixel_unshuffle(input: Shaped[Array, "..."], downscale_factor: int, *, axis: int = -1) -> Shaped[Array, "..."]:
    """Turn positions of images into channels, the inverse of `pixel_shuffle`.

        y[h, w, c · r² + i · r + j] = x[h · r + i, w · r + j, c]

    Args:
        input: array with axes for examples, rows, columns and channels.
        downscale_factor: factor r by which rows and columns become fewer, at least 1.
        axis: axis of the channels, in input and output. Default -1; 1 is PyTorch's layout.

    Returns:
        Array with 1 / r of the rows and columns, and r² times as many channels.

    Raises:
        TypeError: if the factor is not an integer.
        ValueError: if the factor does not divide rows and columns, or the input does not have four axes.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.pixel_unshuffle(jnp.arange(4).reshape(1, 2, 2, 1), 2).squeeze())
        [0 1 2 3]

    PyTorch: `torch.nn.functional.pixel_unshuffle` and `torch.nn.PixelUnshuffle`. They also take an example without a
    batch axis.

    Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
    Neural Network", 2016, https://arxiv.org/abs/1609.05158
    """
    r = check_integer("pixel_unshuffle", "downscale_factor", downscale_factor, 1)
    x, axis = _images("pixel_unshuffle", input, axis)
    n, h, w, channels = x.shape
    if h % r or w % r:
        raise ValueError(f"pixel_unshuffle: downscale_factor must divide rows and columns, got {r} for {h} x {w}")
    split = x.reshape(n, h, w // r, r, channels).reshape(n, h // r, r, w // r, r, channels)
    gathered = split.transpose(0, 1, 3, 5, 2, 4)
    return jnp.moveaxis(gathered.reshape(n, h // r, w // r, channels * r**2), -1, axis)


def channel_shuffle(input: Shaped[Array, "..."], groups: int, *, axis: int = -1) -> Shaped[Array, "..."]:
    """Interleave groups of channels.

        y[…, i · groups + g] = x[…, g · (channels / groups) + i]

    Args:
        input: array with axes for examples, channels and any others.
        groups: number of groups, at least 1; it divides the number of channels.
        axis: axis of the channels. Default -1; 1 is PyTorch's layout.

    Returns:
        Array of the input's shape.

    Raises:
        TypeError: if the number of groups is not an integer.
        ValueError: if it does not divide the number of channels.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.channel_shuffle(jnp.arange(6).reshape(1, 6), 2))
        [[0 3 1 4 2 5]]

    PyTorch: `torch.nn.functional.channel_shuffle` and `torch.nn.ChannelShuffle`.

    Source: Zhang, Zhou, Lin and Sun, "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
    Devices", 2017, https://arxiv.org/abs/1707.01083
    """
    check_integer("channel_shuffle", "groups", groups, 1)
    input = as_array("channel_shuffle", "input", input)
    axis = channel_axis("channel_shuffle", input, axis)
    channels = input.shape[axis]
    if channels % groups:
        raise ValueError(
            f"channel_shuffle: groups must divide the number of channels, got {groups} for the {channels} channels "
            f"along axis {axis}; if the channels lie on another axis, pass axis="
        )
    grouped = input.reshape(*input.shape[:axis], groups, channels // groups, *input.shape[axis + 1 :])
    return jnp.swapaxes(grouped, axis, axis + 1).reshape(input.shape)


def _images(where: str, input: jax.Array, axis: int) -> tuple[jax.Array, int]:
    """`input` with its channels on the last axis, and the axis on which they lay."""
    input = as_array(where, "input", input)
    if input.ndim != 4:
        raise ValueError(
            f"{where}: expected axes for examples, rows, columns and channels, got an input of shape {input.shape}; "
            "give a single example a batch axis, as in x[None]"
        )
    axis = channel_axis(where, input, axis)
    return jnp.moveaxis(input, axis, -1), axis
