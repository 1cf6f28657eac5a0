"""A leaky ReLU with trained slopes."""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxtrain._ground.axes import along_axis
from jaxtrain._ground.checks import check_integer, check_number
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.spread import spread
from jaxtrain.nn._arrays import as_floating, canonical_axis, check_dtypes
from jaxtrain.nn._named import named


def prelu(input: Float[Array, "*shape"], weight: Float[Array, "channels"], *, axis: int = -1) -> Float[Array, "*shape"]:
    """Scale negative elements by a slope, the same for all or one for each channel.

        y = x where x > 0, weight · x elsewhere

    Args:
        input: array of any shape.
        weight: slopes, of shape (1,) or (channels,).
        axis: axis of the channels. Default -1; 1 is PyTorch's layout.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if the number of slopes is neither 1 nor the number of channels.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.prelu(jnp.array([[-1.0, -1.0], [2.0, 2.0]]), jnp.array([0.5, 0.25])))
        [[-0.5  -0.25]
         [ 2.    2.  ]]

    PyTorch: `torch.nn.functional.prelu`.

    Source: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet
    Classification", 2015, https://arxiv.org/abs/1502.01852
    """
    input, weight = as_floating("prelu", input), as_floating("prelu", weight, "weight")
    slopes = weight.reshape(-1) if weight.ndim == 0 else weight
    if slopes.ndim != 1:
        raise ValueError(f"prelu: weight must be a vector of slopes, got shape {weight.shape}")
    if len(slopes) != 1:
        axis = canonical_axis("prelu", input, axis)
        if input.shape[axis] != len(slopes):
            raise ValueError(
                f"prelu: expected one slope, or one for each of the {input.shape[axis]} channels along axis {axis}, "
                f"got {len(slopes)}; if the channels lie on another axis, pass axis="
            )
        slopes = along_axis(slopes, axis, input.ndim)
    else:
        slopes = slopes.reshape((1,) * input.ndim)
    x = input.astype(at_least_float32(input.dtype))
    return jnp.where(x > 0, x, x * spread(slopes.astype(x.dtype), x)).astype(input.dtype)


class PReLU(nnx.Module):
    """Scale negative elements by trained slopes, one for all or one for each channel.

        y = x where x > 0, weight · x elsewhere

    Args:
        num_parameters: 1, or the number of channels. Default 1.
        init: value at which the slopes start. Default 0.25.
        axis: axis of the channels. Default -1; 1 is PyTorch's layout.
        param_dtype: dtype of the slopes. Default float32.

    Attributes:
        weight: parameter of shape (num_parameters,).

    Returns:
        When called with an array: an array of the same shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if the number of slopes is neither 1 nor the number of channels.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.PReLU()(jnp.array([-1.0, 2.0])))
        [-0.25  2.  ]

    PyTorch: `torch.nn.PReLU`. Weight decay on slopes is not recommended; `optim.param_groups` excludes them.

    Source: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet
    Classification", 2015, https://arxiv.org/abs/1502.01852
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, *, axis: int = -1, param_dtype: DTypeLike = jnp.float32
    ):
        self.num_parameters = check_integer("PReLU", "num_parameters", num_parameters, 1)
        check_number("PReLU", "init", init)
        check_dtypes("PReLU", param_dtype=param_dtype)
        self.axis = axis
        self.weight = nnx.Param(jnp.full((num_parameters,), init, param_dtype))

    @named
    def __call__(self, input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return prelu(input, self.weight[...], axis=self.axis)
