"""Root-mean-square normalization."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_range
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.nn._arrays import (
    as_floating,
    as_floating_or_none,
    as_shape,
    check_dtypes,
    check_flags,
    check_trailing_shape,
    trailing,
    value,
)
from jaxtrain.nn._named import named


def rms_norm(
    input: Float[Array, "*shape"],
    normalized_shape: int | Sequence[int],
    weight: Float[Array, "..."] | None = None,
    eps: float | None = None,
) -> Float[Array, "*shape"]:
    """Divide each example by the root mean square of its last axes.

        y = x / √(mean(x²) + eps) · weight

    Args:
        input: array of shape (..., *normalized_shape).
        normalized_shape: sizes of the last axes, over which to normalize; an integer for one axis.
        weight: factors, of shape `normalized_shape`. Default None: 1.
        eps: added to the mean square, at least 0. Default None: the machine epsilon of the computation's dtype, 1.19e-7
            for float32, float16 and bfloat16, 2.2e-16 for float64.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if a shape does not fit, or eps is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.rms_norm(jnp.array([1.0, 7.0]), 2))
        [0.2 1.4]

    PyTorch: `torch.nn.functional.rms_norm`, which accepts a negative eps and returns NaN.

    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, https://arxiv.org/abs/1910.07467
    """
    input = as_floating("rms_norm", input)
    weight = as_floating_or_none("rms_norm", "weight", weight)
    shape = check_trailing_shape("rms_norm", input, normalized_shape, weight=weight)
    x = input.astype(at_least_float32(input.dtype))
    if eps is None:
        eps = float(jnp.finfo(x.dtype).eps)
    check_range("rms_norm", "eps", eps, 0.0)
    mean_square = jnp.mean(jnp.square(x), axis=tuple(range(-len(shape), 0)), keepdims=True)
    output = x * lax.rsqrt(mean_square + eps)
    if weight is not None:
        output *= trailing(weight, output)
    return output.astype(input.dtype)


class RMSNorm(nnx.Module):
    """Divide each example by the root mean square of its last axes, with a trained weight.

        y = x / √(mean(x²) + eps) · weight

    Args:
        normalized_shape: sizes of the last axes, over which to normalize; an integer for one axis.
        eps: added to the mean square, at least 0. Default None: the machine epsilon of the computation's dtype, 1.19e-7
            for float32, float16 and bfloat16, 2.2e-16 for float64.
        elementwise_affine: whether to train a weight, starting at 1. Default True.
        param_dtype: dtype of the weight. Default float32.
        rngs: accepted as in Flax, whose norms require them; nothing is drawn. Default None.

    Attributes:
        weight: parameter of shape `normalized_shape`, or None.

    Returns:
        When called with an array of shape (..., *normalized_shape): an array of the same shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if eps is negative, or the input does not end in `normalized_shape`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.RMSNorm(4)(jnp.array([[3.0, 4.0, 0.0, 0.0]])))
        [[1.2 1.6 0.  0. ]]

    PyTorch: `torch.nn.RMSNorm`.

    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, https://arxiv.org/abs/1910.07467
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs | None = None,
    ):
        if eps is not None:
            check_range("RMSNorm", "eps", eps, 0.0)
        check_flags("RMSNorm", elementwise_affine=elementwise_affine)
        check_dtypes("RMSNorm", param_dtype=param_dtype)
        self.normalized_shape = as_shape("RMSNorm", normalized_shape)
        self.eps = eps
        self.weight = nnx.data(nnx.Param(jnp.ones(self.normalized_shape, param_dtype)) if elementwise_affine else None)

    @named
    def __call__(self, input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return rms_norm(input, self.normalized_shape, value(self.weight), self.eps)
