"""Several axes as one, and one as several, in the order in which PyTorch's layers expect the elements."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from jaxtrain._ground.arrays import as_array
from jaxtrain._ground.checks import check_integer
from jaxtrain.nn._arrays import channel_axis


def flatten(
    input: Shaped[Array, "..."], start_dim: int = 1, end_dim: int = -1, *, axis: int = -1
) -> Shaped[Array, "..."]:
    """Make one axis of several, with the elements in PyTorch's order.

        y[n] = (x[n, :, :, 0], x[n, :, :, 1], …) for images with the channels last

    `start_dim` and `end_dim` count the axes in PyTorch's order: examples, channels, positions. So a `Linear` layer with
    weights from PyTorch fits after it, which it does not after `x.reshape(len(x), -1)`.

    Args:
        input: array with axes for examples, channels and positions (none or more).
        start_dim: first of the axes that become one. Default 1: all but the examples.
        end_dim: last of them. Default -1.
        axis: axis of the channels. Default -1; 1 is PyTorch's layout.

    Returns:
        Array with fewer axes; what has become of the channels lies along `axis` again, if `start_dim` is not 0.

    Raises:
        TypeError: if a dim is not an integer.
        ValueError: if a dim does not exist, or the last comes before the first.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> image = jnp.array([[[[0, 10], [1, 11], [2, 12]]]])
        >>> print(image.shape, nn.flatten(image), image.reshape(1, -1))
        (1, 1, 3, 2) [[ 0  1  2 10 11 12]] [[ 0 10  1 11  2 12]]

    PyTorch: `torch.nn.Flatten`; the default `start_dim` of `torch.flatten` is 0.
    """
    x = _channels_second("flatten", input, axis)
    first, last = (
        check_integer("flatten", name, dim, -x.ndim, x.ndim - 1) % x.ndim
        for name, dim in (("start_dim", start_dim), ("end_dim", end_dim))
    )
    if last < first:
        raise ValueError(f"flatten: end_dim must not come before start_dim, got {start_dim} and {end_dim}")
    flat = x.reshape(*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :])
    return _channels_back(flat, axis) if first else flat


def unflatten(
    input: Shaped[Array, "..."], dim: int, unflattened_size: Sequence[int], *, axis: int = -1
) -> Shaped[Array, "..."]:
    """Make several axes of one, with the elements in PyTorch's order: the inverse of `flatten`.

        y[n, h, w, c] = x[n, (c · H + h) · W + w] for unflattened_size = (C, H, W) and channels that go last

    Args:
        input: array with axes for examples, channels and positions (none or more).
        dim: axis that is split, counted in PyTorch's order: examples, channels, positions.
        unflattened_size: sizes of the axes, in PyTorch's order; one of them may be -1, for what is left.
        axis: axis of the channels. Default -1; 1 is PyTorch's layout.

    Returns:
        Array with more axes; what has become of the channels lies along `axis` again, if `dim` is not 0.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if the dim does not exist, or the sizes do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> features = jnp.array([[0, 1, 2, 10, 11, 12]])
        >>> print(nn.unflatten(features, 1, (2, 1, 3)))
        [[[[ 0 10]
           [ 1 11]
           [ 2 12]]]]

    PyTorch: `torch.nn.Unflatten`, which also takes names of axes.
    """
    x = _channels_second("unflatten", input, axis)
    dim = check_integer("unflatten", "dim", dim, -x.ndim, x.ndim - 1) % x.ndim
    sizes = [check_integer("unflatten", "unflattened_size", size, -1) for size in unflattened_size]
    known = math.prod(size for size in sizes if size != -1)
    fits = x.shape[dim] == known if -1 not in sizes else known and x.shape[dim] % known == 0
    if not sizes or sizes.count(-1) > 1 or not fits:
        raise ValueError(
            f"unflatten: unflattened_size must multiply to the {x.shape[dim]} elements along dim {dim}, with at most "
            f"one -1, got {tuple(unflattened_size)}"
        )
    sizes = [x.shape[dim] // known if size == -1 else size for size in sizes]
    split = x.reshape(*x.shape[:dim], *sizes, *x.shape[dim + 1 :])
    return _channels_back(split, axis) if dim else split


def _channels_second(where: str, input: jax.Array, axis: int) -> jax.Array:
    """`input` in PyTorch's layout; an array with one axis stays as it is."""
    input = as_array(where, "input", input)
    if input.ndim == 0:
        raise ValueError(f"{where}: expected an array with axes, got a number")
    return jnp.moveaxis(input, channel_axis(where, input, axis), 1) if input.ndim > 1 else input


def _channels_back(x: jax.Array, axis: int) -> jax.Array:
    return jnp.moveaxis(x, 1, axis) if x.ndim > 2 else x
