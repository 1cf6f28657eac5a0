"""Local response normalization."""

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_integer
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.nn._arrays import as_floating, channel_axis
from jaxtrain.nn._named import named


def local_response_norm(
    input: Float[Array, "*shape"],
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    axis: int = -1,
) -> Float[Array, "*shape"]:
    """Damp each value by the energy of the neighbouring channels.

        y_c = x_c / (k + alpha · Σx² / size)^beta

    The sum runs over `size` channels, starting at c - ⌊size / 2⌋. Channels beyond the first and the last count as
    zeros, and the divisor is always `size`.

    Args:
        input: array of at least three dimensions: examples, positions and channels.
        size: number of channels in the sum, at least 1.
        alpha: weight of the mean square. Default 1e-4.
        beta: exponent. Default 0.75.
        k: added to the mean square. Default 1.
        axis: axis of the channels. Default -1; 1 is PyTorch's layout.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point, or size is not an integer.
        ValueError: if size is below 1, or the input has fewer than three dimensions.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.local_response_norm(jnp.array([[[1.0, 2.0, 3.0]]]), size=2, alpha=2.0, beta=1.0, k=0.0))
        [[[1.         0.4        0.23076923]]]

    PyTorch: `torch.nn.functional.local_response_norm`.

    Source: Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012,
    https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html
    """
    input = as_floating("local_response_norm", input)
    check_integer("local_response_norm", "size", size, 1)
    axis = channel_axis("local_response_norm", input, axis)
    if input.ndim < 3:
        raise ValueError(
            f"local_response_norm: expected examples, positions and channels, at least three dimensions, got shape "
            f"{input.shape}"
        )
    x = input.astype(at_least_float32(input.dtype))
    window, padding = [1] * x.ndim, [(0, 0)] * x.ndim
    window[axis], padding[axis] = size, (size // 2, (size - 1) // 2)
    energy = lax.reduce_window(jnp.square(x), 0.0, lax.add, window, [1] * x.ndim, padding)
    return (x / (k + alpha * (energy / size)) ** beta).astype(input.dtype)


class LocalResponseNorm(nnx.Module):
    """Damp each value by the energy of the neighbouring channels.

        y_c = x_c / (k + alpha · Σx² / size)^beta

    The sum runs over `size` channels around c (see `nn.local_response_norm`).

    Args:
        size: number of channels in the sum, at least 1.
        alpha: weight of the mean square. Default 1e-4.
        beta: exponent. Default 0.75.
        k: added to the mean square. Default 1.
        axis: axis of the channels. Default -1; 1 is PyTorch's layout.

    Returns:
        When called with an array of at least three dimensions: an array of the same shape and dtype.

    Raises:
        TypeError: if the input is not floating-point, or size is not an integer.
        ValueError: if size is below 1, or the input has fewer than three dimensions.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.LocalResponseNorm(3, alpha=3.0, beta=0.5, k=0.0)(jnp.array([[[3.0, 4.0, 12.0]]])))
        [[[0.6        0.30769232 0.94868326]]]

    PyTorch: `torch.nn.LocalResponseNorm`.

    Source: Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012,
    https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, axis: int = -1):
        self.size = check_integer("LocalResponseNorm", "size", size, 1)
        self.alpha = alpha
        self.beta = beta
        self.k = k
        self.axis = axis

    @named
    def __call__(self, input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k, axis=self.axis)
