"""Activations with the shape of an S, and their integrals."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_number
from jaxtrain.nn import _tanh
from jaxtrain.nn._elementwise import elementwise


@elementwise
def sigmoid(input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Map each element to (0, 1).

        y = 1 / (1 + exp(-x))

    Args:
        input: array of any shape.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.sigmoid(jnp.array([-100.0, 0.0, 100.0])))
        [0.  0.5 1. ]

    PyTorch: `torch.nn.functional.sigmoid` and `torch.nn.Sigmoid`, which also take integers and complex numbers.
    """
    return jax.nn.sigmoid(input)


@elementwise
def hardsigmoid(input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Map each element to [0, 1] along a straight line.

        y = min(max(x / 6 + 1/2, 0), 1), with the derivative 0 at -3 and 3

    Args:
        input: array of any shape.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.hardsigmoid(jnp.array([-4.0, 1.5, 4.0])))
        [0.   0.75 1.  ]

    PyTorch: `torch.nn.functional.hardsigmoid` and `torch.nn.Hardsigmoid`.

    Source: Courbariaux, Bengio and David, "BinaryConnect: Training Deep Neural Networks with Binary Weights during
    Propagations", 2015, https://arxiv.org/abs/1511.00363, with another slope.
    """
    return jnp.where(input <= -3, 0, jnp.where(input >= 3, 1, (input + 3) / 6))


@elementwise
def tanh(input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Map each element to (-1, 1).

        y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))

    Args:
        input: array of any shape.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.tanh(jnp.array([-100.0, 0.0, 100.0])))
        [-1.  0.  1.]

    PyTorch: `torch.nn.functional.tanh` and `torch.nn.Tanh`, which also take integers and complex numbers.
    """
    return _tanh.tanh(input)


@elementwise
def softsign(input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Map each element to (-1, 1), more slowly than `tanh` does.

        y = x / (1 + |x|)

    Args:
        input: array of any shape.

    Returns:
        Array of the input's shape and dtype; NaN for infinite elements.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.softsign(jnp.array([-1.0, 0.0, 3.0])))
        [-0.5   0.    0.75]

    PyTorch: `torch.nn.functional.softsign` and `torch.nn.Softsign`, which also take integers and complex numbers.
    """
    return input / (1 + jnp.abs(input))


@elementwise
def softplus(input: Float[Array, "*shape"], beta: float = 1.0, threshold: float = 20.0) -> Float[Array, "*shape"]:
    """Map each element to a positive number, smoothly.

        y = log(1 + exp(beta · x)) / beta where beta · x ≤ threshold, x elsewhere

    Args:
        input: array of any shape.
        beta: sharpness of the bend, not 0. Default 1.
        threshold: from where on the function is the identity. Default 20.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if beta is 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.softplus(jnp.array([-1000.0, 100.0])))
        [  0. 100.]

    PyTorch: `torch.nn.functional.softplus` and `torch.nn.Softplus`. `jax.nn.softplus` has neither a `beta` nor a
    threshold, which shows from 17 significant digits on.

    Source: Dugas, Bengio, Bélisle, Nadeau and Garcia, "Incorporating Second-Order Functional Knowledge for Better
    Option Pricing", 2000,
    https://proceedings.neurips.cc/paper/2000/hash/44968aece94f667e4095002d140b5896-Abstract.html
    """
    check_number("softplus", "beta", beta)
    check_number("softplus", "threshold", threshold)
    if isinstance(beta, int | float) and beta == 0:
        raise ValueError("softplus: beta must not be 0, as the result is divided by it; give the sharpness of the bend")
    scaled = input * beta
    linear = scaled > threshold
    return jnp.where(linear, input, jnp.log1p(jnp.exp(jnp.where(linear, 0, scaled))) / beta)


@elementwise
def logsigmoid(input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The logarithm of the sigmoid, without overflow.

        y = -log(1 + exp(-x))

    Args:
        input: array of any shape.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.logsigmoid(jnp.array([-100.0, -1000.0])))
        [ -100. -1000.]

    PyTorch: `torch.nn.functional.logsigmoid` and `torch.nn.LogSigmoid`.
    """
    return _log_sigmoid(input)


@elementwise
def tanhshrink(input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Subtract the hyperbolic tangent.

        y = x - tanh(x)

    Args:
        input: array of any shape.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.tanhshrink(jnp.array([-20.0, 0.0, 20.0])))
        [-19.   0.  19.]

    PyTorch: `torch.nn.functional.tanhshrink` and `torch.nn.Tanhshrink`, which also take integers and complex numbers.
    """
    return input - _tanh.tanh(input)


@jax.custom_jvp
def _log_sigmoid(x: jax.Array) -> jax.Array:
    return jnp.minimum(x, 0) - jnp.log1p(jnp.exp(-jnp.abs(x)))


@_log_sigmoid.defjvp
def _log_sigmoid_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    [x] = primals
    e = jnp.exp(-jnp.abs(x))
    smaller = e / (1 + e)
    return _log_sigmoid(x), tangents[0] * jnp.where(x < 0, 1 - smaller, smaller)
