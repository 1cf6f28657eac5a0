"""Group normalization."""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxtrain._ground.axes import other_axes
from jaxtrain._ground.checks import check_integer, check_range
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.nn._arrays import (
    as_floating,
    as_vector,
    channel_axis,
    check_channels,
    check_dtypes,
    check_flags,
    per_channel,
    value,
)
from jaxtrain.nn._named import named
from jaxtrain.nn._standardize import Over, standardize


def group_norm(
    input: Float[Array, "*shape"],
    num_groups: int,
    weight: Float[Array, "channels"] | None = None,
    bias: Float[Array, "channels"] | None = None,
    eps: float = 1e-5,
    *,
    axis: int = -1,
) -> Float[Array, "*shape"]:
    """Normalize each example over groups of neighbouring channels.

        y = (x - mean) / √(var + eps) · weight + bias

    The statistics of an example and group run over the group's channels and all positions; var divides by their count.

    Args:
        input: array of at least two dimensions; the first counts the examples.
        num_groups: number of groups; it divides the number of channels.
        weight: factor of each channel. Default None: 1.
        bias: offset of each channel. Default None: 0.
        eps: added to the variance, at least 0. Default 1e-5.
        axis: axis of the channels. Default -1; 1 is PyTorch's layout.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if a size does not fit, eps is negative, or the batch holds only one value per group.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.group_norm(jnp.array([[0.0, 2.0, 10.0, 20.0]]), num_groups=2, eps=0.0))
        [[-1.  1. -1.  1.]]

    PyTorch: `torch.nn.functional.group_norm`, which accepts a negative eps and returns NaN.

    Source: Wu and He, "Group Normalization", 2018, https://arxiv.org/abs/1803.08494
    """
    input = as_floating("group_norm", input)
    axis = channel_axis("group_norm", input, axis)
    channels = input.shape[axis]
    check_integer("group_norm", "num_groups", num_groups, 1)
    check_range("group_norm", "eps", eps, 0.0)
    if channels % num_groups:
        raise ValueError(
            f"group_norm: num_groups must divide the number of channels, got {num_groups} groups and {channels} "
            f"channels along axis {axis} of an input of shape {input.shape}"
        )
    weight = as_vector("group_norm", "weight", weight, input, axis)
    bias = as_vector("group_norm", "bias", bias, input, axis)
    if input.size == num_groups:
        raise ValueError(
            f"group_norm: expected more than one value per group, got an input of shape {input.shape} in {num_groups} "
            "groups; use fewer groups or more examples"
        )

    x = input.astype(at_least_float32(input.dtype))
    over = Over(other_axes(x.ndim, 0, axis), groups=(axis, num_groups))
    scale, shift = per_channel(weight, x, axis), per_channel(bias, x, axis)
    return standardize(x, over, eps, scale=scale, bias=shift).output.astype(input.dtype)


class GroupNorm(nnx.Module):
    """Normalize each example over groups of neighbouring channels, with a trained weight and bias per channel.

        y = (x - mean) / √(var + eps) · weight + bias

    The statistics of an example and group run over the group's channels and all positions; var divides by their count.

    Args:
        num_groups: number of groups; it divides `num_channels`.
        num_channels: number of channels.
        eps: added to the variance, at least 0. Default 1e-5.
        affine: whether to train a weight, starting at 1, and a bias, starting at 0. Default True.
        bias: whether an affine layer has a bias. Default True.
        axis: axis of the channels. Default -1; 1 is PyTorch's layout.
        param_dtype: dtype of the parameters. Default float32.
        rngs: accepted as in Flax, whose norms require them; nothing is drawn. Default None.

    Attributes:
        weight: parameter of shape (num_channels,), or None.
        bias: parameter of shape (num_channels,), or None.

    Returns:
        When called with an array of at least two dimensions, the first of which counts examples: an array of the same
        shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if num_groups does not divide num_channels, eps is negative, the input does not have `num_channels`
            channels, or the batch holds only one value per group.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> layer = nn.GroupNorm(2, 4, eps=0.0)
        >>> print(layer(jnp.array([[[0.0, 2.0, 1.0, 7.0]], [[5.0, 3.0, 3.0, 1.0]]])))
        [[[-1.  1. -1.  1.]]
        <BLANKLINE>
         [[ 1. -1.  1. -1.]]]

    PyTorch: `torch.nn.GroupNorm`.

    Source: Wu and He, "Group Normalization", 2018, https://arxiv.org/abs/1803.08494
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        axis: int = -1,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs | None = None,
    ):
        check_integer("GroupNorm", "num_groups", num_groups, 1)
        check_integer("GroupNorm", "num_channels", num_channels, 1)
        check_range("GroupNorm", "eps", eps, 0.0)
        check_flags("GroupNorm", affine=affine, bias=bias)
        check_dtypes("GroupNorm", param_dtype=param_dtype)
        if num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_groups must divide num_channels, got {num_groups} groups and {num_channels} channels"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.axis = axis
        self.weight = nnx.data(nnx.Param(jnp.ones(num_channels, param_dtype)) if affine else None)
        self.bias = nnx.data(nnx.Param(jnp.zeros(num_channels, param_dtype)) if affine and bias else None)

    @named
    def __call__(self, input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        input = check_channels("GroupNorm", input, self.axis, self.num_channels)
        return group_norm(input, self.num_groups, value(self.weight), value(self.bias), self.eps, axis=self.axis)
