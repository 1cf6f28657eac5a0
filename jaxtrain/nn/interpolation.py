"""Signals, images and volumes in another size."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_choice, check_flag, check_integer, check_number
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.nn import _resampling
from jaxtrain.nn._windows import as_positions
from jaxtrain.nn.adaptive_pooling import adaptive_avg_pool

Mode = Literal["nearest", "linear", "bilinear", "bicubic", "trilinear", "area", "nearest-exact", "lanczos"]
AXES = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3, "lanczos": 2}
"""How many axes of positions the input has in some of the modes."""

FILTERS = {
    "bilinear": (_resampling.triangle_filter, 1),
    "bicubic": (_resampling.cubic_filter, 2),
    "lanczos": (_resampling.lanczos_filter, 3),
}
"""The filters against aliasing, and half their widths."""


def interpolate(
    input: Float[Array, "..."],
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: Mode = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Change the number of positions of signals, images or volumes.

        y[t] = Σ_s weight(t, s) · x[s], one axis after the other

    - "nearest": the element in which a place of the output begins; "nearest-exact": in which its centre lies
    - "linear", "bilinear", "trilinear": straight lines between neighbours, along one, two or three axes
    - "bicubic": cubic polynomials through four neighbours
    - "area": the mean of the elements that a place covers, as `adaptive_avg_pool`
    - "lanczos": a windowed sinc over six neighbours, with `antialias` only

    Args:
        input: array with axes for examples, positions (one or more) and channels.
        size: number of positions of the output, for all axes or each. Default None: given by `scale_factor`.
        scale_factor: ratio of the numbers of positions, above 0, for all axes or each. Default None: given by `size`.
        mode: one of the above. Default "nearest".
        align_corners: whether the centres of the outermost elements stay where they are, instead of their outer edges;
            for "linear", "bilinear", "bicubic" and "trilinear" only. Default None: False.
        recompute_scale_factor: whether the places lie as if the resulting size had been given, not the scale factor.
            Default None: False.
        antialias: whether the filter widens where there are fewer places than elements; for "bilinear", "bicubic" and
            "lanczos" only. Default False.
        axis: axis of the channels, in input and output. Default -1; 1 is PyTorch's layout.

    Returns:
        Array with the axes of the input, in its dtype; with `scale_factor`, n positions become ⌊n · scale_factor⌋.

    Raises:
        TypeError: if the input is not floating-point, or a size is not an integer.
        ValueError: if both or neither of size and scale factor are given, a number is out of range, or the mode does
            not fit the input or the other arguments.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> signal = jnp.array([0.0, 4.0]).reshape(1, 2, 1)
        >>> print(nn.interpolate(signal, 4, mode="linear").ravel())
        [0. 1. 3. 4.]
        >>> print(nn.interpolate(signal, 5, mode="linear", align_corners=True).ravel())
        [0. 1. 2. 3. 4.]

    PyTorch: `torch.nn.functional.interpolate` and `torch.nn.Upsample`. PyTorch also takes images of unsigned bytes.
    `jax.image.resize` widens its filters unless `antialias=False`, and has another "bicubic".

    Source: Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981,
    https://doi.org/10.1109/TASSP.1981.1163711
    """
    where = "interpolate"
    input, axes = as_positions(where, input, axis)
    _check_mode(mode, align_corners, antialias, len(axes))
    if recompute_scale_factor is not None:
        check_flag(where, "recompute_scale_factor", recompute_scale_factor)
    sizes, scales = _sizes(size, scale_factor, [input.shape[along] for along in axes])
    if recompute_scale_factor or mode == "area":
        if recompute_scale_factor and size is not None:
            raise ValueError(f"{where}: recompute_scale_factor needs scale_factor, got size={size!r}; leave it out")
        scales = [None] * len(axes)
    if mode == "area":
        return adaptive_avg_pool(input, sizes, axis=axis)
    x = input.astype(at_least_float32(input.dtype))
    for along, places, scale in zip(axes, sizes, scales, strict=True):
        taps = _taps(mode, x.shape[along], places, scale, bool(align_corners), antialias, x.dtype)
        x = _resampling.resample(x, along, taps)
    return x.astype(input.dtype)


def _taps(
    mode: str, positions: int, places: int, scale: float | None, align_corners: bool, antialias: bool, dtype: np.dtype
) -> _resampling.Taps:
    """The elements and weights along one axis."""
    ratio = positions / places if scale is None else 1 / scale
    if mode in ("nearest", "nearest-exact"):
        return _resampling.nearest(positions, places, ratio, mode == "nearest-exact", dtype)
    if align_corners:
        ratio = (positions - 1) / (places - 1) if places > 1 else 0.0
    if antialias:
        return _resampling.antialiased(positions, places, ratio, *FILTERS[mode])
    table = _resampling.cubic if mode == "bicubic" else _resampling.linear
    return table(positions, places, ratio, align_corners)


def _sizes(size: Any, scale_factor: Any, positions: list[int]) -> tuple[list[int], list[float | None]]:
    """The number of places along each axis, and the scale if it is given."""
    if (size is None) == (scale_factor is None):
        raise ValueError(f"interpolate: expected either size or scale_factor, got {size!r} and {scale_factor!r}")
    name, given = ("size", size) if scale_factor is None else ("scale_factor", scale_factor)
    numbers = list(given) if np.iterable(given) else [given] * len(positions)
    if len(numbers) != len(positions):
        raise ValueError(
            f"interpolate: {name} must be a number, or one for each of the {len(positions)} axes of positions, "
            f"got {given!r}"
        )
    scales: list[float | None] = [None] * len(numbers)
    if scale_factor is None:
        sizes = [check_integer("interpolate", "size", number, 1) for number in numbers]
    else:
        for number in numbers:
            check_number("interpolate", "scale_factor", number, 0.0, open_low=True)
        sizes, scales = [math.floor(n * number) for n, number in zip(positions, numbers, strict=True)], numbers
    if not all((*positions, *sizes)):
        raise ValueError(f"interpolate: expected positions in input and output, got {positions} and {sizes}")
    return sizes, scales


def _check_mode(mode: str, align_corners: bool | None, antialias: bool, axes: int) -> None:
    """Raise `ValueError` if the mode does not fit the number of axes or the flags."""
    check_choice("interpolate", "mode", mode, ("nearest", "nearest-exact", "area", *AXES))
    check_flag("interpolate", "antialias", antialias)
    if AXES.get(mode, axes) != axes:
        raise ValueError(
            f"interpolate: mode {mode!r} needs {AXES[mode]} axes of positions, got an input with {axes}; the modes for "
            "1, 2 and 3 are 'linear', 'bilinear' and 'trilinear'"
        )
    if align_corners is not None:
        check_flag("interpolate", "align_corners", align_corners)
        if mode not in ("linear", "bilinear", "bicubic", "trilinear") and (align_corners or mode != "lanczos"):
            raise ValueError(f"interpolate: align_corners does not apply to mode {mode!r}; leave it out")
    if antialias and mode not in FILTERS:
        raise ValueError(f"interpolate: antialias is for modes {', '.join(FILTERS)}, got mode {mode!r}")
    if mode == "lanczos" and not antialias:
        raise ValueError("interpolate: mode 'lanczos' needs antialias=True, got False")
