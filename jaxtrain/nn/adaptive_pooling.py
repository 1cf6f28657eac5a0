"""Pooling into a given number of windows."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_flag, check_integer
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.nn._windows import as_positions

Size = int | None | Sequence[int | None]


def adaptive_avg_pool(input: Float[Array, "..."], output_size: Size, *, axis: int = -1) -> Float[Array, "..."]:
    """The means of a given number of windows.

        y[t, c] = mean of x[⌊t · n / m⌋ … ⌈(t + 1) · n / m⌉ - 1, c], for n positions and m windows

    Args:
        input: array with axes for examples, positions (one or more) and channels.
        output_size: number of windows, at least 1, for all axes of positions or each; None for the input's size.
        axis: axis of the channels, in input and output. Default -1; 1 is PyTorch's layout.

    Returns:
        Array with the axes of the input, in its dtype, and `output_size` positions.

    Raises:
        TypeError: if the input is not floating-point, or a size is not an integer.
        ValueError: if a size is out of range, or there are no positions.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> image = jnp.arange(16.0).reshape(1, 4, 4, 1)
        >>> print(nn.adaptive_avg_pool(image, 1).shape, nn.adaptive_avg_pool(image, (2, 1)).ravel())
        (1, 1, 1, 1) [ 3.5 11.5]

    PyTorch: `torch.nn.functional.adaptive_avg_pool1d`, `adaptive_avg_pool2d` and `adaptive_avg_pool3d`, and the layers
    `torch.nn.AdaptiveAvgPool1d`, `AdaptiveAvgPool2d` and `AdaptiveAvgPool3d`. They also take an example without a batch
    axis.
    """
    input, axes, sizes = _sized("adaptive_avg_pool", input, output_size, axis)
    x = input.astype(at_least_float32(input.dtype))
    for along, size in zip(axes, sizes, strict=True):
        x = _by_window(x, along, size, lambda part, over: jnp.mean(part, over))
    return x.astype(input.dtype)


def adaptive_max_pool(
    input: Float[Array, "..."], output_size: Size, return_indices: bool = False, *, axis: int = -1
) -> Any:
    """The largest elements of a given number of windows.

        y[t, c] = max of x[⌊t · n / m⌋ … ⌈(t + 1) · n / m⌉ - 1, c], for n positions and m windows

    If several elements of a window are the largest, the first of them gets the gradient; the last axis of positions
    counts fastest.

    Args:
        input: array with axes for examples, positions (one or more) and channels.
        output_size: number of windows, at least 1, for all axes of positions or each; None for the input's size.
        return_indices: whether to return the places of the largest elements as well. Default False.
        axis: axis of the channels, in input and output. Default -1; 1 is PyTorch's layout.

    Returns:
        Array with the axes of the input, in its dtype, and `output_size` positions. With `return_indices` a pair: this
        array, and an int32 array of its shape with places in the flattened positions.

    Raises:
        TypeError: if the input is not floating-point, or a size is not an integer.
        ValueError: if a size is out of range, or there are no positions.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> image = jnp.arange(16.0).reshape(1, 4, 4, 1)
        >>> print(nn.adaptive_max_pool(image, (2, 1)).ravel())
        [ 7. 15.]

    PyTorch: `torch.nn.functional.adaptive_max_pool1d`, `adaptive_max_pool2d` and `adaptive_max_pool3d`, and the layers
    `torch.nn.AdaptiveMaxPool1d`, `AdaptiveMaxPool2d` and `AdaptiveMaxPool3d`. They also take an example without a batch
    axis.
    """
    check_flag("adaptive_max_pool", "return_indices", return_indices)
    input, axes, sizes = _sized("adaptive_max_pool", input, output_size, axis)
    places = None
    if return_indices:
        shape = [size if along in axes else 1 for along, size in enumerate(input.shape)]
        places = jnp.asarray(np.broadcast_to(np.arange(np.prod(shape), dtype=np.int32).reshape(shape), input.shape))
    largest = input
    # Along the fastest axis first, so that the first of several largest elements is the first in memory as well.
    for along, size in reversed(list(zip(axes, sizes, strict=True))):
        where = _by_window(largest, along, size, lambda part, over: jnp.argmax(part, over).astype(jnp.int32))
        where += jnp.asarray(_starts(largest.shape[along], size)).reshape(
            [-1 if other == along else 1 for other in range(largest.ndim)]
        )
        largest = jnp.take_along_axis(largest, where, along)
        places = None if places is None else jnp.take_along_axis(places, where, along)
    return largest if places is None else (largest, places)


def _sized(where: str, input: jax.Array, output_size: Size, axis: int) -> tuple[jax.Array, list[int], list[int]]:
    """`input` as an array of floats, its axes of positions, and the number of windows along each."""
    input, axes = as_positions(where, input, axis)
    sizes = tuple(output_size) if np.iterable(output_size) else (output_size,) * len(axes)
    if len(sizes) != len(axes):
        raise ValueError(
            f"{where}: output_size must be a number, or one for each of the {len(axes)} axes of positions, "
            f"got {output_size!r}"
        )
    if not all(input.shape[along] for along in axes):
        raise ValueError(f"{where}: expected positions to pool, got an input of shape {input.shape}")
    checked = [
        input.shape[along] if size is None else check_integer(where, "output_size", size, 1)
        for along, size in zip(axes, sizes, strict=True)
    ]
    return input, axes, checked


def _starts(positions: int, count: int) -> np.ndarray:
    """Where each window begins."""
    return (np.arange(count) * positions // count).astype(np.int32)


def _by_window(x: jax.Array, axis: int, count: int, reduce: Callable[[jax.Array, int], jax.Array]) -> jax.Array:
    """`reduce` of each window along an axis."""
    positions = x.shape[axis]
    if positions % count == 0:
        return reduce(x.reshape(*x.shape[:axis], count, positions // count, *x.shape[axis + 1 :]), axis + 1)
    bounds = [(number * positions // count, -(-(number + 1) * positions // count)) for number in range(count)]
    return jnp.stack([reduce(lax.slice_in_dim(x, start, end, axis=axis), axis) for start, end in bounds], axis)
