"""The softmax, its logarithm and its mirror image."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.nn._arrays import as_floating, canonical_axis


def softmax(input: Float[Array, "*shape"], *, axis: int = -1, dtype: DTypeLike | None = None) -> Float[Array, "*shape"]:
    """Positive numbers that add up to one along an axis.

        y_i = exp(x_i) / Σ_j exp(x_j)

    Args:
        input: array of one or more dimensions.
        axis: axis of the sum. Default -1; 1 for channels in PyTorch's layout.
        dtype: dtype of the result. Default None: the input's.

    Returns:
        Array of the input's shape.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if the axis does not exist.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.softmax(jnp.log(jnp.array([1.0, 1.0, 2.0]))))
        [0.25 0.25 0.5 ]

    PyTorch: `torch.nn.functional.softmax`, `torch.nn.Softmax` and `torch.nn.Softmax2d`, the softmax over the channels
    of images. Their `dim` is `axis` here; PyTorch without `dim` warns and chooses one.
    """
    return _normalized("softmax", jax.nn.softmax, input, axis, dtype)


def softmin(input: Float[Array, "*shape"], *, axis: int = -1, dtype: DTypeLike | None = None) -> Float[Array, "*shape"]:
    """The softmax of the negative input.

        y_i = exp(-x_i) / Σ_j exp(-x_j)

    Args:
        input: array of one or more dimensions.
        axis: axis of the sum. Default -1.
        dtype: dtype of the result. Default None: the input's.

    Returns:
        Array of the input's shape.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if the axis does not exist.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.softmin(-jnp.log(jnp.array([1.0, 1.0, 2.0]))))
        [0.25 0.25 0.5 ]

    PyTorch: `torch.nn.functional.softmin` and `torch.nn.Softmin`, whose `dim` is `axis` here.
    """
    return _normalized("softmin", lambda x, axis: jax.nn.softmax(-x, axis), input, axis, dtype)


def log_softmax(
    input: Float[Array, "*shape"], *, axis: int = -1, dtype: DTypeLike | None = None
) -> Float[Array, "*shape"]:
    """The logarithm of the softmax, without overflow.

        y_i = x_i - log Σ_j exp(x_j)

    Args:
        input: array of one or more dimensions.
        axis: axis of the sum. Default -1.
        dtype: dtype of the result. Default None: the input's.

    Returns:
        Array of the input's shape.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if the axis does not exist.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.log_softmax(jnp.array([1000.0, 0.0])))
        [    0. -1000.]

    PyTorch: `torch.nn.functional.log_softmax` and `torch.nn.LogSoftmax`, whose `dim` is `axis` here.
    """
    return _normalized("log_softmax", jax.nn.log_softmax, input, axis, dtype)


def _normalized(where: str, function, input: jax.Array, axis: int, dtype: DTypeLike | None) -> jax.Array:
    """A softmax computed in at least float32; `dtype` counts before the computation, as in PyTorch."""
    input = as_floating(where, input)
    axis = canonical_axis(where, input, axis)
    result = jnp.dtype(input.dtype if dtype is None else dtype)
    if not jnp.issubdtype(result, jnp.floating):
        raise TypeError(f"{where}: dtype must be floating-point, got {result}")
    x = input.astype(result)
    return function(x.astype(at_least_float32(result)), axis).astype(result)
