"""The affine map y = xW + b."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from jax.nn.initializers import Initializer
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_integer
from jaxtrain.nn import initializers
from jaxtrain.nn._arrays import (
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
from jaxtrain.nn._products import affine


def linear(
    input: Float[Array, "*batch in_features"],
    kernel: Float[Array, "in_features out_features"],
    bias: Float[Array, "out_features"] | None = None,
) -> Float[Array, "*batch out_features"]:
    """Apply an affine map to the last axis.

        y = x · kernel + bias

    Args:
        input: array of shape (..., in_features).
        kernel: matrix of shape (in_features, out_features).
        bias: vector of shape (out_features,). Default None: no bias.

    Returns:
        Array of shape (..., out_features), in the promoted dtype of the arguments.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if the last axis of the input is not as long as the first axis of the kernel.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.linear(jnp.array([2.0, 3.0]), jnp.array([[1.0, 0.0], [10.0, 1.0]]), jnp.array([0.5, 0.0])))
        [32.5  3. ]

    PyTorch: `torch.nn.functional.linear`, whose `weight` is this kernel transposed.
    """
    kernel, bias = as_floating("linear", kernel, "kernel"), as_floating_or_none("linear", "bias", bias)
    if kernel.ndim not in (1, 2):  # A vector gives one number for each example, as in PyTorch.
        raise ValueError(f"linear: kernel must have the shape (in_features, out_features), got {kernel.shape}")
    check_output_bias("linear", bias, kernel.shape[1:])
    input, kernel, bias = promote_dtype((_as_features("linear", input, kernel.shape[0]), kernel, bias))
    return affine(jnp.matmul, input, kernel, bias)


class Linear(nnx.Module):
    """Apply a trained affine map to the last axis.

        y = x · kernel + bias

    Kernel and bias start uniform in [-1/√in_features, 1/√in_features).

    Args:
        in_features: length of the input's last axis.
        out_features: length of the output's last axis.
        bias: whether to add a bias. Default True.
        dtype: dtype of the computation. Default None: the promoted dtype of input and parameters.
        param_dtype: dtype of the parameters. Default float32.
        kernel_init: initializer of the kernel. Default None: as above.
        bias_init: initializer of the bias. Default None: as above.
        rngs: random streams; the parameters are drawn from `params`.

    Attributes:
        kernel: parameter of shape (in_features, out_features).
        bias: parameter of shape (out_features,), or None.

    Returns:
        When called with an array of shape (..., in_features): an array of shape (..., out_features).

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if a size is negative, or the last axis of the input is not `in_features` long.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.Linear(100, 10, rngs=nnx.Rngs(0))
        >>> print(layer.kernel.shape, f"{jnp.abs(layer.kernel[...]).max():.3f}")
        (100, 10) 0.100

    PyTorch: `torch.nn.Linear`. Its `weight` is this kernel transposed, and its `dtype` is `param_dtype` here. On GPUs
    and TPUs, JAX multiplies float32 matrices in less than float32 precision unless `jax_default_matmul_precision` is
    "highest"; PyTorch's default is full precision.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        kernel_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        rngs: nnx.Rngs,
    ):
        check_integer("Linear", "in_features", in_features, 0)
        check_integer("Linear", "out_features", out_features, 0)
        check_flags("Linear", bias=bias)
        check_dtypes("Linear", param_dtype=param_dtype, dtype=dtype)
        check_rngs("Linear", rngs)
        bound = 1 / math.sqrt(in_features) if in_features else 0.0
        default_init = initializers.uniform(-bound, bound)
        self.in_features = in_features
        self.out_features = out_features
        self.dtype = dtype

        kernel_init, bias_init = kernel_init or default_init, bias_init or default_init
        self.kernel = nnx.Param(
            initialized("Linear", "kernel_init", kernel_init, rngs, (in_features, out_features), param_dtype)
        )
        self.bias = nnx.data(
            nnx.Param(initialized("Linear", "bias_init", bias_init, rngs, (out_features,), param_dtype))
            if bias
            else None
        )

    @named
    def __call__(
        self, input: Float[Array, "*batch in_features"], out_sharding: NamedSharding | PartitionSpec | None = None
    ) -> Float[Array, "*batch out_features"]:
        input = _as_features("Linear", input, self.in_features)
        input, kernel, bias = promote_dtype((input, self.kernel[...], value(self.bias)), dtype=self.dtype)
        return affine(partial(jnp.matmul, out_sharding=out_sharding), input, kernel, bias)


def _as_features(where: str, input: ArrayLike, in_features: int) -> jax.Array:
    """`input` as an array of floats; raise `ValueError` unless its last axis is `in_features` long."""
    input = as_floating(where, input)
    if input.ndim == 0 or input.shape[-1] != in_features:
        raise ValueError(
            f"{where}: expected an input of shape (..., {in_features}), got {input.shape}; the features are the last "
            "axis, and images must be flattened, as in x.reshape(len(x), -1)"
        )
    return input
