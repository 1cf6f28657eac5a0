"""The bilinear map of two inputs."""

import math

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_integer
from jaxtrain.nn import initializers
from jaxtrain.nn._arrays import (
    add_bias,
    as_floating,
    as_floating_or_none,
    check_dtypes,
    check_flags,
    check_output_bias,
    check_rngs,
    initialized,
    value,
)
from jaxtrain.nn._named import named


def bilinear(
    input1: Float[Array, "*batch in1_features"],
    input2: Float[Array, "*batch in2_features"],
    kernel: Float[Array, "in1_features in2_features out_features"],
    bias: Float[Array, "out_features"] | None = None,
) -> Float[Array, "*batch out_features"]:
    """Multiply each pair of features of two inputs, and sum the products with weights.

        y_k = Σ_i Σ_j x1_i · kernel[i, j, k] · x2_j + bias_k

    Args:
        input1: array of shape (..., in1_features).
        input2: array of shape (..., in2_features), with the same leading axes.
        kernel: array of shape (in1_features, in2_features, out_features).
        bias: vector of shape (out_features,). Default None: no bias.

    Returns:
        Array of shape (..., out_features), in the promoted dtype of the arguments.

    Raises:
        TypeError: if an input is not floating-point.
        ValueError: if the shapes do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> kernel = jnp.array([[[1.0], [10.0]]])
        >>> print(nn.bilinear(jnp.array([[2.0]]), jnp.array([[3.0, 4.0]]), kernel, jnp.array([0.5])))
        [[86.5]]

    PyTorch: `torch.nn.functional.bilinear`, whose `weight` has the shape (out_features, in1_features, in2_features).
    """
    input1, input2 = as_floating("bilinear", input1, "input1"), as_floating("bilinear", input2, "input2")
    kernel = as_floating("bilinear", kernel, "kernel")
    bias = as_floating_or_none("bilinear", "bias", bias)
    if kernel.ndim != 3:
        raise ValueError(
            f"bilinear: kernel must have the shape (in1_features, in2_features, out_features), got {kernel.shape}"
        )
    if input1.shape[:-1] != input2.shape[:-1] or (*input1.shape[-1:], *input2.shape[-1:]) != kernel.shape[:2]:
        raise ValueError(
            f"bilinear: expected inputs of shape (..., {kernel.shape[0]}) and (..., {kernel.shape[1]}) with the same "
            f"leading axes, got {input1.shape} and {input2.shape}"
        )
    check_output_bias("bilinear", bias, kernel.shape[2:])
    input1, input2, kernel, bias = promote_dtype((input1, input2, kernel, bias))
    output = jnp.einsum("...i,ijk,...j->...k", input1, kernel, input2)
    return add_bias(output, bias, -1).astype(output.dtype)


class Bilinear(nnx.Module):
    """Multiply each pair of features of two inputs, and sum the products with trained weights.

        y_k = Σ_i Σ_j x1_i · kernel[i, j, k] · x2_j + bias_k

    Kernel and bias start uniform in [-1/√in1_features, 1/√in1_features).

    Args:
        in1_features: length of the last axis of the first input.
        in2_features: length of the last axis of the second input.
        out_features: length of the output's last axis.
        bias: whether to add a bias. Default True.
        dtype: dtype of the computation. Default None: the promoted dtype of inputs and parameters.
        param_dtype: dtype of the parameters. Default float32.
        kernel_init: initializer of the kernel. Default None: as above.
        bias_init: initializer of the bias. Default None: as above.
        rngs: random streams; the parameters are drawn from `params`.

    Attributes:
        kernel: parameter of shape (in1_features, in2_features, out_features).
        bias: parameter of shape (out_features,), or None.

    Returns:
        When called with arrays of shapes (..., in1_features) and (..., in2_features): an array of shape
        (..., out_features).

    Raises:
        TypeError: if an input is not floating-point.
        ValueError: if a size is out of range, or the shapes do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.Bilinear(20, 30, 40, rngs=nnx.Rngs(0))
        >>> print(layer(jnp.ones((8, 20)), jnp.ones((8, 30))).shape)
        (8, 40)

    PyTorch: `torch.nn.Bilinear`, whose `weight` has the shape (out_features, in1_features, in2_features).
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        kernel_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        rngs: nnx.Rngs,
    ):
        check_integer("Bilinear", "in1_features", in1_features, 1)
        check_integer("Bilinear", "in2_features", in2_features, 1)
        check_integer("Bilinear", "out_features", out_features, 1)
        check_flags("Bilinear", bias=bias)
        check_dtypes("Bilinear", param_dtype=param_dtype, dtype=dtype)
        check_rngs("Bilinear", rngs)
        bound = 1 / math.sqrt(in1_features)
        default_init = initializers.uniform(-bound, bound)
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.dtype = dtype

        shape = (in1_features, in2_features, out_features)
        kernel_init, bias_init = kernel_init or default_init, bias_init or default_init
        self.kernel = nnx.Param(initialized("Bilinear", "kernel_init", kernel_init, rngs, shape, param_dtype))
        self.bias = nnx.data(
            nnx.Param(initialized("Bilinear", "bias_init", bias_init, rngs, (out_features,), param_dtype))
            if bias
            else None
        )

    @named
    def __call__(
        self, input1: Float[Array, "*batch in1_features"], input2: Float[Array, "*batch in2_features"]
    ) -> Float[Array, "*batch out_features"]:
        inputs = as_floating("Bilinear", input1, "input1"), as_floating("Bilinear", input2, "input2")
        input1, input2, kernel, bias = promote_dtype((*inputs, self.kernel[...], value(self.bias)), dtype=self.dtype)
        return bilinear(input1, input2, kernel, bias)
