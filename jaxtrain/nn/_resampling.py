"""Where interpolation takes its values from: for each place of the output, elements of the input and their weights."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

MANY = 64
"""Gradients that are sums of more elements take too long to compile."""


class Taps(NamedTuple):
    """The elements of an axis that make up each place of the output.

    Attributes:
        index: integers of shape (places, elements); an element behind the last one counts as 0.
        weight: numbers of the same shape.
    """

    index: np.ndarray
    weight: np.ndarray

    def transposed(self, positions: int) -> "Taps":
        """For each element of the input, the places of the output that it is part of, and its weights there.

        Elements of fewer places than others get places that do not exist, behind the last.
        """
        place, number = self.weight.nonzero()
        source, weight = self.index[place, number], self.weight[place, number]
        order = np.argsort(source, kind="stable")
        source, weight, place = source[order], weight[order], place[order]
        column = np.arange(source.size) - np.searchsorted(source, source)
        shape = positions, column.max() + 1
        transposed = Taps(np.full(shape, len(self.index)), np.zeros(shape))
        transposed.index[source, column], transposed.weight[source, column] = place, weight
        return transposed


def nearest(positions: int, places: int, ratio: float, exact: bool, dtype: np.dtype) -> Taps:
    """The element in which a place begins, or in which its centre lies if `exact`, as computed in `dtype`.

    Rounding decides between two elements where a place begins on their border.
    """
    place = np.arange(places, dtype=dtype) + dtype.type(0.5 if exact else 0)
    found = np.floor(place * dtype.type(ratio)).astype(int)
    return Taps(np.minimum(found, positions - 1)[:, None], np.ones((places, 1)))


def linear(positions: int, places: int, ratio: float, align_corners: bool) -> Taps:
    """The two neighbours of a place, each with its share."""
    source = np.maximum(_source(places, ratio, align_corners), 0)
    first = np.minimum(source.astype(int), positions - 1)
    share = np.clip(source - first, 0, 1)
    return Taps(np.stack([first, np.minimum(first + 1, positions - 1)], 1), np.stack([1 - share, share], 1))


def cubic(positions: int, places: int, ratio: float, align_corners: bool) -> Taps:
    """The four neighbours of a place, the outermost elements repeated."""
    source = _source(places, ratio, align_corners)
    index = np.floor(source).astype(int)[:, None] + np.arange(-1, 3)
    return Taps(np.clip(index, 0, positions - 1), cubic_filter(source[:, None] - index, -0.75))


def antialiased(
    positions: int, places: int, ratio: float, filter: Callable[[np.ndarray], np.ndarray], reach: int
) -> Taps:
    """All elements under a filter that is as wide as a place; `reach` is half its width at a ratio of 1."""
    stretch = max(ratio, 1.0)
    centre = ratio * (np.arange(places) + 0.5)
    start = np.maximum((centre - reach * stretch + 0.5).astype(int), 0)
    end = np.minimum((centre + reach * stretch + 0.5).astype(int), positions)
    index = start[:, None] + np.arange((end - start).max())
    weight = np.where(index < end[:, None], filter((index - centre[:, None] + 0.5) / stretch), 0)
    return Taps(np.minimum(index, positions - 1), weight / weight.sum(1, keepdims=True))


def triangle_filter(x: np.ndarray) -> np.ndarray:
    """The weights of linear interpolation by distance."""
    return np.maximum(1 - np.abs(x), 0)


def cubic_filter(x: np.ndarray, bend: float = -0.5) -> np.ndarray:
    """The weights of Keys's cubic convolution by distance."""
    x = np.abs(x)
    near = ((bend + 2) * x - (bend + 3)) * x**2 + 1
    far = ((x - 5) * x + 8) * x * bend - 4 * bend
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def lanczos_filter(x: np.ndarray) -> np.ndarray:
    """The weights of Lanczos's filter with three lobes by distance."""
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


def resample(x: jax.Array, axis: int, taps: Taps) -> jax.Array:
    """The sum of the weighted elements along an axis.

    Its gradient is such a sum as well, which is several times as fast on a CPU as adding each place to its elements.
    """
    of_gradient = taps.transposed(x.shape[axis])
    if of_gradient.index.shape[1] > MANY:
        return _weighted(x, axis, taps)

    @jax.custom_jvp
    def resampled(x: jax.Array) -> jax.Array:
        return _weighted(x, axis, taps)

    @resampled.defjvp
    def _jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
        output = resampled(*primals)
        (tangent,) = jax.linear_transpose(lambda gradient: _weighted(gradient, axis, of_gradient), output)(*tangents)
        return output, tangent

    return resampled(x)


def _weighted(x: jax.Array, axis: int, taps: Taps) -> jax.Array:
    """The sum, element by element; those that do not exist are 0."""
    shape = [-1 if other == axis else 1 for other in range(x.ndim)]

    def taken(index: np.ndarray, weight: np.ndarray) -> jax.Array:
        elements = jnp.take(x, index.astype(np.int32), axis, mode="fill", fill_value=0)
        return elements if (weight == 1).all() else elements * jnp.asarray(weight.reshape(shape), x.dtype)

    first, *others = [taken(index, weight) for index, weight in zip(taps.index.T, taps.weight.T, strict=True)]
    return sum(others, first)


def _source(places: int, ratio: float, align_corners: bool) -> np.ndarray:
    """Where the centre of each place, or the place itself between aligned corners, lies in the input."""
    place = np.arange(places)
    return place * ratio if align_corners else (place + 0.5) * ratio - 0.5
