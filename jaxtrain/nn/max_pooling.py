"""The largest element of each window."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_flag
from jaxtrain.nn._windows import Window, sliding


def max_pool(
    input: Float[Array, "..."],
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    axis: int = -1,
) -> Any:
    """The largest element of each window.

        y[t, c] = max_k x[t · stride + k · dilation - padding, c]

    The padding never wins. If several elements of a window are the largest, the first of them gets the gradient; the
    last axis of positions counts fastest.

    Args:
        input: array with axes for examples, positions (one or more) and channels.
        kernel_size: number of elements of a window, at least 1, for all axes of positions or each.
        stride: distance between two windows, at least 1, for all axes or each. Default None: `kernel_size`.
        padding: number of positions added on both sides, at most half a window, for all axes or each. Default 0.
        dilation: distance between two elements of a window, at least 1, for all axes or each. Default 1.
        ceil_mode: whether a last window may reach beyond the end, if it begins before it. Default False.
        return_indices: whether to return the places of the largest elements as well. Default False.
        axis: axis of the channels, in input and output. Default -1; 1 is PyTorch's layout.

    Returns:
        Array with the axes of the input, in its dtype. Along an axis, n positions become
        ⌊(n + 2 · padding - dilation · (kernel_size - 1) - 1) / stride⌋ + 1, rounded up with `ceil_mode`. With
        `return_indices` a pair: this array, and an int32 array of its shape with places in the flattened positions.

    Raises:
        TypeError: if the input is not floating-point, or a size is not an integer.
        ValueError: if a number is out of range, the padding is more than half a window, no window fits, or there are no
            channels.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> image = jnp.arange(16.0).reshape(1, 4, 4, 1)
        >>> print(nn.max_pool(image, 2).squeeze())
        [[ 5.  7.]
         [13. 15.]]

    PyTorch: `torch.nn.functional.max_pool1d`, `max_pool2d` and `max_pool3d`, and the layers `torch.nn.MaxPool1d`,
    `MaxPool2d` and `MaxPool3d`. They also take integers, and an example without a batch axis. `flax.linen.max_pool`
    has a stride of 1 by default.
    """
    check_flag("max_pool", "return_indices", return_indices)
    input, windows = sliding("max_pool", input, axis, kernel_size, stride, padding, dilation, ceil_mode)
    largest, places = input, _places(windows, input.ndim) if return_indices else None
    # Along the fastest axis first, so that the first of several largest elements is the first in memory as well.
    for window in reversed(windows):
        largest, places = _largest_along(window, largest, places)
    return (largest, jnp.broadcast_to(places, largest.shape)) if places is not None else largest


def _places(windows: Sequence[Window], ndim: int) -> jax.Array:
    """The places of the elements in the flattened positions, with size 1 along the other axes."""
    shape = [1] * ndim
    for window in windows:
        shape[window.axis] = window.positions
    return jnp.asarray(np.arange(np.prod(shape), dtype=np.int32).reshape(shape))


def _largest_along(window: Window, x: jax.Array, places: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
    """The windows' largest elements along one axis: the first of several, a NaN in any case.

    Slices that are compared make a faster program than `lax.reduce_window`, with PyTorch's gradients.
    """
    largest, *others = _slices(window, x, -jnp.inf)
    winners = []
    for other in others:
        winners.append((other > largest) | lax.ne(other, other))  # A NaN is not equal to itself.
        largest = lax.select(winners[-1], other, largest)
    if places is None:
        return largest, None
    found, *indices = _slices(window, places, 0)
    for wins, index in zip(winners, indices, strict=True):
        found = jnp.where(wins, index, found)
    return largest, found


def _slices(window: Window, x: jax.Array, fill: float) -> list[jax.Array]:
    """For each element of a window, the array of these elements of all windows."""
    if window.padding or window.after:
        amounts = [(0, 0, 0)] * x.ndim
        amounts[window.axis] = (window.padding, window.after, 0)
        x = lax.pad(x, jnp.asarray(fill, x.dtype), amounts)
    reach = (window.count - 1) * window.stride + 1
    starts = range(0, window.size * window.dilation, window.dilation)
    return [lax.slice_in_dim(x, start, start + reach, window.stride, window.axis) for start in starts]
