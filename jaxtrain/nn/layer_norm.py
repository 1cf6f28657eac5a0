"""Layer normalization."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
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
from jaxtrain.nn._standardize import Over, standardize


def layer_norm(
    input: Float[Array, "..."],
    normalized_shape: int | Sequence[int],
    weight: Float[Array, "..."] | None = None,
    bias: Float[Array, "..."] | None = None,
    eps: float = 1e-5,
) -> Float[Array, "..."]:
    """Normalize each example over its last axes.

        y = (x - mean) / √(var + eps) · weight + bias

    The variance divides by the number of elements.

    Args:
        input: array of shape (..., *normalized_shape).
        normalized_shape: sizes of the last axes, over which to normalize; an integer for one axis.
        weight: factors, of shape `normalized_shape`. Default None: 1.
        bias: offsets, of shape `normalized_shape`. Default None: 0.
        eps: added to the variance, at least 0. Default 1e-5.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if a shape does not fit, or eps is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.layer_norm(jnp.array([1.0, 2.0, 3.0]), 3, eps=0.5))
        [-0.9258201  0.         0.9258201]

    PyTorch: `torch.nn.functional.layer_norm`, which accepts a negative eps and returns NaN.

    Source: Ba, Kiros and Hinton, "Layer Normalization", 2016, https://arxiv.org/abs/1607.06450
    """
    input = as_floating("layer_norm", input)
    weight = as_floating_or_none("layer_norm", "weight", weight)
    bias = as_floating_or_none("layer_norm", "bias", bias)
    shape = check_trailing_shape("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    check_range("layer_norm", "eps", eps, 0.0)
    x = input.astype(at_least_float32(input.dtype))
    output = standardize(x, Over(tuple(range(x.ndim - len(shape), x.ndim))), eps).output
    if weight is not None:
        output *= trailing(weight, output)
    if bias is not None:
        output += trailing(bias, output)
    return output.astype(input.dtype)


class LayerNorm(nnx.Module):
    """Normalize each example over its last axes, with a trained weight and bias.

        y = (x - mean) / √(var + eps) · weight + bias

    The variance divides by the number of elements.

    Args:
        normalized_shape: sizes of the last axes, over which to normalize; an integer for one axis.
        eps: added to the variance, at least 0. Default 1e-5.
        elementwise_affine: whether to train a weight, starting at 1, and a bias, starting at 0. Default True.
        bias: whether an affine layer has a bias. Default True.
        param_dtype: dtype of the parameters. Default float32.
        rngs: accepted as in Flax, whose norms require them; nothing is drawn. Default None.

    Attributes:
        weight: parameter of shape `normalized_shape`, or None.
        bias: parameter of shape `normalized_shape`, or None.

    Returns:
        When called with an array of shape (..., *normalized_shape): an array of the same shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if eps is negative, or the input does not end in `normalized_shape`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.LayerNorm(4)(jnp.array([[0.0, 0.0, 0.0, 8.0]])))
        [[-0.57735   -0.57735   -0.57735    1.7320501]]

    PyTorch: `torch.nn.LayerNorm`.

    Source: Ba, Kiros and Hinton, "Layer Normalization", 2016, https://arxiv.org/abs/1607.06450
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs | None = None,
    ):
        check_range("LayerNorm", "eps", eps, 0.0)
        check_flags("LayerNorm", elementwise_affine=elementwise_affine, bias=bias)
        check_dtypes("LayerNorm", param_dtype=param_dtype)
        self.normalized_shape = as_shape("LayerNorm", normalized_shape)
        self.eps = eps
        affine = elementwise_affine
        self.weight = nnx.data(nnx.Param(jnp.ones(self.normalized_shape, param_dtype)) if affine else None)
        self.bias = nnx.data(nnx.Param(jnp.zeros(self.normalized_shape, param_dtype)) if affine and bias else None)

    @named
    def __call__(self, input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return layer_norm(input, self.normalized_shape, value(self.weight), value(self.bias), self.eps)
