"""The mean, or the p-norm, of each window."""

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_flag, check_integer, check_number
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.nn._windows import Window, sliding


def avg_pool(
    input: Float[Array, "..."],
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    axis: int = -1,
) -> Float[Array, "..."]:
    """The mean of each window.

        y[t, c] = Σ_k x[t · stride + k - padding, c] / (number of elements)

    Args:
        input: array with axes for examples, positions (one or more) and channels.
        kernel_size: number of elements of a window, at least 1, for all axes of positions or each.
        stride: distance between two windows, at least 1, for all axes or each. Default None: `kernel_size`.
        padding: number of zeros on both sides, at most half a window, for all axes or each. Default 0.
        ceil_mode: whether a last window may reach beyond the end, if it begins before it. Default False.
        count_include_pad: whether zeros of the padding count as elements. Default True.
        divisor_override: divisor of all sums, not 0. Default None: the number of elements.
        axis: axis of the channels, in input and output. Default -1; 1 is PyTorch's layout.

    Returns:
        Array with the axes of the input, in its dtype. Along an axis, n positions become
        ⌊(n + 2 · padding - kernel_size) / stride⌋ + 1, rounded up with `ceil_mode`.

    Raises:
        TypeError: if the input is not floating-point, or a size is not an integer.
        ValueError: if a number is out of range, the padding is more than half a window, or no window fits.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> signal = jnp.array([2.0, 4.0, 6.0]).reshape(1, 3, 1)
        >>> print(nn.avg_pool(signal, 2, padding=1, count_include_pad=False).ravel())
        [2. 5.]

    PyTorch: `torch.nn.functional.avg_pool1d`, `avg_pool2d` and `avg_pool3d`, and the layers `torch.nn.AvgPool1d`,
    `AvgPool2d` and `AvgPool3d`. They also take an example without a batch axis, and `divisor_override` for images and
    volumes only.
    """
    check_flag("avg_pool", "count_include_pad", count_include_pad)
    if divisor_override is not None and check_integer("avg_pool", "divisor_override", divisor_override) == 0:
        raise ValueError("avg_pool: divisor_override must not be 0; give None for the number of elements")
    input, windows = sliding("avg_pool", input, axis, kernel_size, stride, padding, ceil_mode=ceil_mode)
    x = input.astype(at_least_float32(input.dtype))
    divisor = _elements(windows, x.ndim, count_include_pad) if divisor_override is None else divisor_override
    return (_window_sums(x, windows) / jnp.asarray(divisor, x.dtype)).astype(input.dtype)


def lp_pool(
    input: Float[Array, "..."],
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
    *,
    axis: int = -1,
) -> Float[Array, "..."]:
    """The p-norm of each window, without the magnitudes.

        y[t, c] = (Σ_k x[t · stride + k, c]^p)^(1/p)

    With `ceil_mode`, the mean of the elements that exist stands for the others. Where a sum is 0, so is the derivative.

    Args:
        input: array with axes for examples, positions (one or more) and channels.
        norm_type: exponent p, not 0.
        kernel_size: number of elements of a window, at least 1, for all axes of positions or each.
        stride: distance between two windows, at least 1, for all axes or each. Default None: `kernel_size`.
        ceil_mode: whether a last window may reach beyond the end, if it begins before it. Default False.
        axis: axis of the channels, in input and output. Default -1; 1 is PyTorch's layout.

    Returns:
        Array with the axes of the input, in its dtype. Along an axis, n positions become
        ⌊(n - kernel_size) / stride⌋ + 1, rounded up with `ceil_mode`. NaN where the sum is negative, as it may be
        for an odd p other than 1.

    Raises:
        TypeError: if the input is not floating-point, or a size is not an integer.
        ValueError: if a number is out of range, or no window fits.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> signal = jnp.array([3.0, 4.0, 5.0, 12.0]).reshape(1, 4, 1)
        >>> print(nn.lp_pool(signal, 2, 2).ravel())
        [ 5. 13.]

    PyTorch: `torch.nn.functional.lp_pool1d`, `lp_pool2d` and `lp_pool3d`, and the layers `torch.nn.LPPool1d`,
    `LPPool2d` and `LPPool3d`.
    """
    check_number("lp_pool", "norm_type", norm_type)
    if norm_type == 0:
        raise ValueError("lp_pool: norm_type must not be 0, as 1 is divided by it; 1 gives sums, 2 Euclidean norms")
    input, windows = sliding("lp_pool", input, axis, kernel_size, stride, ceil_mode=ceil_mode)
    x = input.astype(at_least_float32(input.dtype))
    share = _elements(windows, x.ndim, with_padding=True) / math.prod(window.size for window in windows)
    total = _window_sums(x**norm_type, windows) / jnp.asarray(share, x.dtype)
    is_zero = total == 0
    return jnp.where(is_zero, 0, _root(jnp.where(is_zero, 1, total), norm_type)).astype(input.dtype)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _root(x: jax.Array, degree: float) -> jax.Array:
    return x ** (1 / degree)


@_root.defjvp
def _root_jvp(degree: float, primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """From the root itself: the other power of x would bring a second rounded exponent."""
    (x,), (tangent,) = primals, tangents
    root = _root(x, degree)
    return root, tangent * (root / (degree * x))


def _elements(windows: Sequence[Window], ndim: int, with_padding: bool) -> np.ndarray:
    """How many elements each window has, with the axes of the output."""
    counts = np.ones((1,) * ndim)
    for window in windows:
        shape = [1] * ndim
        shape[window.axis] = window.count
        counts = counts * window.elements(with_padding).reshape(shape)
    return counts


def _window_sums(x: jax.Array, windows: Sequence[Window]) -> jax.Array:
    """The sum of each window."""
    sizes, strides, paddings = [1] * x.ndim, [1] * x.ndim, [(0, 0)] * x.ndim
    for window in windows:
        sizes[window.axis], strides[window.axis] = window.size, window.stride
        paddings[window.axis] = (window.padding, window.after)
    return lax.reduce_window(x, np.zeros((), x.dtype), lax.add, sizes, strides, paddings)
