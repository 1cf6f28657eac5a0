"""Windows that slide over positions: their sizes, and how many fit."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from jaxtrain._ground.checks import check_flag
from jaxtrain.nn._arrays import as_floating, channel_axis
from jaxtrain.nn._spatial import per_axis


@dataclass(frozen=True)
class Window:
    """The windows along one axis.

    Attributes:
        axis: the axis, counted from the front.
        size: number of elements of a window.
        stride: distance between two windows.
        padding: number of positions before the first one and after the last one.
        dilation: distance between two elements of a window.
        positions: number of positions of the input.
        count: number of windows.
    """

    axis: int
    size: int
    stride: int
    padding: int
    dilation: int
    positions: int
    count: int

    @property
    def after(self) -> int:
        """How many positions the last window needs after the last position of the input."""
        last = (self.count - 1) * self.stride + self.dilation * (self.size - 1) + 1
        return max(last - self.padding - self.positions, 0)

    def elements(self, with_padding: bool) -> np.ndarray:
        """How many elements of each window lie in the input, or in the input and its padding."""
        start = np.arange(self.count) * self.stride - self.padding
        end = np.minimum(start + self.size, self.positions + self.padding)
        return end - start if with_padding else np.minimum(end, self.positions) - np.maximum(start, 0)


def as_positions(where: str, input: jax.Array, axis: int) -> tuple[jax.Array, list[int]]:
    """`input` as an array of floats, and its axes of positions; raise `ValueError` if it has none."""
    input = as_floating(where, input)
    if input.ndim < 3:
        raise ValueError(
            f"{where}: expected axes for examples, positions (one or more) and channels, got an input of shape "
            f"{input.shape}; give a single example a batch axis, as in x[None]"
        )
    axis = channel_axis(where, input, axis)
    return input, [position for position in range(1, input.ndim) if position != axis]


def sliding(
    where: str,
    input: jax.Array,
    axis: int,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> tuple[jax.Array, list[Window]]:
    """`input` as an array of floats, and the windows along each of its axes of positions.

    Raises:
        ValueError: if a number is out of range, there is nothing to pool, the padding is more than half a window, or no
            window fits.
    """
    input, axes = as_positions(where, input, axis)
    if 0 in input.shape[1:]:
        raise ValueError(f"{where}: expected positions and channels to pool, got an input of shape {input.shape}")
    check_flag(where, "ceil_mode", ceil_mode)
    sizes = per_axis(where, "kernel_size", kernel_size, len(axes), 1)
    numbers = (
        axes,
        sizes,
        sizes if stride is None or stride == () else per_axis(where, "stride", stride, len(axes), 1),
        per_axis(where, "padding", padding, len(axes), 0),
        per_axis(where, "dilation", dilation, len(axes), 1),
    )
    windows = []
    for along, size, step, margin, spread in zip(*numbers, strict=True):
        positions, reach = input.shape[along], spread * (size - 1) + 1
        if margin > reach // 2:
            raise ValueError(
                f"{where}: padding must be at most half of the window, got {margin} for a window of {reach} positions"
            )
        room = positions + 2 * margin - reach
        count = (-(-room // step) if ceil_mode else room // step) + 1
        if ceil_mode and (count - 1) * step >= positions + margin:
            count -= 1  # The last window would begin in the padding after the input.
        if count < 1:
            raise ValueError(
                f"{where}: a window of {reach} positions is too large for an input of shape {input.shape}, which has "
                f"{positions} along axis {along}; use more padding or a smaller kernel_size"
            )
        windows.append(Window(along, size, step, margin, spread, positions, count))
    return input, windows
