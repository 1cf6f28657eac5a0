"""Activations that multiply the input by a gate between 0 and 1."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_choice
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.nn._arrays import as_floating, canonical_axis
from jaxtrain.nn._elementwise import elementwise
from jaxtrain.nn._tanh import tanh


@elementwise
def gelu(input: Float[Array, "*shape"], approximate: Literal["none", "tanh"] = "none") -> Float[Array, "*shape"]:
    """Weight each element by the probability that a normal number is smaller.

        y = x · Φ(x)
        y = x / 2 · (1 + tanh(√(2 / π) · (x + 0.044715 · x³))) with approximate="tanh"

    Args:
        input: array of any shape.
        approximate: "none" for the exact function, or "tanh". Default "none".

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if `approximate` is neither "none" nor "tanh".

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.gelu(jnp.array([-100.0, 0.0, 100.0])) + 0)
        [  0.   0. 100.]

    PyTorch: `torch.nn.functional.gelu` and `torch.nn.GELU`. The default of `jax.nn.gelu` is the approximation.

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units (GELUs)", 2016, https://arxiv.org/abs/1606.08415
    """
    check_choice("gelu", "approximate", approximate, ("none", "tanh"))
    if approximate == "none":
        return jax.nn.gelu(input, approximate=False)
    inner = math.sqrt(2 / math.pi) * (input + 0.044715 * input**3)
    return 0.5 * input * (1 + tanh(inner))


@elementwise
def silu(input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Weight each element by its sigmoid; also called swish.

        y = x / (1 + exp(-x))

    Args:
        input: array of any shape.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.silu(jnp.array([-100.0, 0.0, 100.0])) + 0)
        [  0.   0. 100.]

    PyTorch: `torch.nn.functional.silu` and `torch.nn.SiLU`, which also take complex numbers.

    Source: Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units for Neural Network Function Approximation in
    Reinforcement Learning", 2017, https://arxiv.org/abs/1702.03118
    """
    return jax.nn.silu(input)


@elementwise
def mish(input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Weight each element by the hyperbolic tangent of its softplus.

        y = x · tanh(log(1 + exp(x)))

    Args:
        input: array of any shape.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.mish(jnp.array([-100.0, 0.0, 100.0])) + 0)
        [  0.   0. 100.]

    PyTorch: `torch.nn.functional.mish` and `torch.nn.Mish`.

    Source: Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", 2019,
    https://arxiv.org/abs/1908.08681
    """
    # With e = exp(-|x|) the tanh is a ratio, in which no digits cancel for large elements.
    is_positive = input > 0
    e = jnp.exp(jnp.where(is_positive, -input, input))
    above = jnp.where(is_positive, 1 + 2 * e, e * (e + 2))
    return input * (above / (above + jnp.where(is_positive, 2 * e * e, 2)))


@elementwise
def hardswish(input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Weight each element by its `hardsigmoid`.

        y = x · min(max(x / 6 + 1/2, 0), 1), with the derivatives 0 at -3 and 1 at 3

    Args:
        input: array of any shape.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.hardswish(jnp.array([-4.0, 1.5, 4.0])))
        [0.    1.125 4.   ]

    PyTorch: `torch.nn.functional.hardswish` and `torch.nn.Hardswish`, where negative infinity becomes NaN; here it
    becomes 0.

    Source: Howard et al., "Searching for MobileNetV3", 2019, https://arxiv.org/abs/1905.02244
    """
    inside = (input > -3) & (input < 3)
    bent = jnp.where(inside, input, 0)
    return jnp.where(inside, bent * (bent + 3) / 6, jnp.where(input <= -3, 0, input))


def glu(input: Float[Array, "..."], *, axis: int = -1) -> Float[Array, "..."]:
    """Multiply the first half of the features by the sigmoid of the second half.

        y = a · sigmoid(b), where a and b are the halves of x along the axis

    Args:
        input: array of one or more dimensions, with an even size along the axis.
        axis: axis that is halved. Default -1.

    Returns:
        Array in the input's dtype, half as long along the axis.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if the axis does not exist, or its size is odd.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.glu(jnp.array([1.0, 2.0, 0.0, 100.0])))
        [0.5 2. ]

    PyTorch: `torch.nn.functional.glu` and `torch.nn.GLU`, whose `dim` is `axis` here.

    Source: Dauphin, Fan, Auli and Grangier, "Language Modeling with Gated Convolutional Networks", 2016,
    https://arxiv.org/abs/1612.08083
    """
    input = as_floating("glu", input)
    axis = canonical_axis("glu", input, axis)
    if input.shape[axis] % 2:
        raise ValueError(f"glu: the size along axis {axis} must be even, got an input of shape {input.shape}")
    value, gate = jnp.split(input.astype(at_least_float32(input.dtype)), 2, axis)
    return (value * jax.nn.sigmoid(gate)).astype(input.dtype)
