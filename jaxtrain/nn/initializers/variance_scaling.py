"""Initializers that scale with the number of inputs and outputs of a kernel."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from jaxtrain._ground.checks import check_choice
from jaxtrain.nn.initializers._initializer import initializer
from jaxtrain.nn.initializers.gain import Nonlinearity, calculate_gain

FanMode = Literal["fan_in", "fan_out"]


def xavier_uniform(gain: float = 1.0) -> Initializer:
    """Draw values uniformly, scaled by the numbers of inputs and outputs.

        values in [-a, a), a = gain · √(6 / (fan_in + fan_out))

    The fans are the numbers of inputs and outputs of a kernel of shape (..., in, out), times the product of the leading
    sizes.

    Args:
        gain: factor. Default 1.

    Returns:
        An initializer, `init(key, shape, dtype) -> array`, for shapes (..., in, out).

    Raises:
        ValueError: when called, if the shape has fewer than two axes.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> kernel = nn.initializers.xavier_uniform()(jax.random.key(0), (200, 400))
        >>> print(f"{jnp.abs(kernel).max():.3f}")
        0.100

    PyTorch: `torch.nn.init.xavier_uniform_`, for weights of shape (out, in, ...).

    Source: Glorot and Bengio, "Understanding the Difficulty of Training Deep Feedforward Neural Networks", 2010,
    https://proceedings.mlr.press/v9/glorot10a.html
    """
    return initializer(lambda key, shape, dtype: _evenly(key, shape, dtype, gain * math.sqrt(2 / sum(_fans(shape)))))


def xavier_normal(gain: float = 1.0) -> Initializer:
    """Draw values from the normal distribution, scaled by the numbers of inputs and outputs.

        mean 0, standard deviation gain · √(2 / (fan_in + fan_out))

    The fans are the numbers of inputs and outputs of a kernel of shape (..., in, out), times the product of the leading
    sizes.

    Args:
        gain: factor. Default 1.

    Returns:
        An initializer, `init(key, shape, dtype) -> array`, for shapes (..., in, out).

    Raises:
        ValueError: when called, if the shape has fewer than two axes.

    Example:
        >>> import jax
        >>> from jaxtrain import nn
        >>> kernel = nn.initializers.xavier_normal(gain=2.0)(jax.random.key(0), (3, 3, 20, 30))
        >>> print(f"{kernel.std():.3f}")
        0.136

    PyTorch: `torch.nn.init.xavier_normal_`, for weights of shape (out, in, ...).

    Source: Glorot and Bengio, "Understanding the Difficulty of Training Deep Feedforward Neural Networks", 2010,
    https://proceedings.mlr.press/v9/glorot10a.html
    """
    return initializer(lambda key, shape, dtype: _normally(key, shape, dtype, gain * math.sqrt(2 / sum(_fans(shape)))))


def kaiming_uniform(a: float = 0.0, mode: FanMode = "fan_in", nonlinearity: Nonlinearity = "leaky_relu") -> Initializer:
    """Draw values uniformly, scaled by the number of inputs or outputs and the nonlinearity.

        values in [-b, b), b = gain · √(3 / fan)

    The fan is the number of inputs or outputs of a kernel of shape (..., in, out), times the product of the leading
    sizes.

    Args:
        a: slope of leaky ReLU below zero. Default 0.
        mode: "fan_in" keeps the variance of the activations, "fan_out" the variance of the gradients. Default "fan_in".
        nonlinearity: name of the function that follows, for `calculate_gain`. Default "leaky_relu".

    Returns:
        An initializer, `init(key, shape, dtype) -> array`, for shapes (..., in, out).

    Raises:
        ValueError: if mode or nonlinearity is unknown; when called, if the shape has fewer than two axes.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> kernel = nn.initializers.kaiming_uniform(nonlinearity="relu")(jax.random.key(0), (600, 100))
        >>> print(f"{jnp.abs(kernel).max():.3f}")
        0.100

    PyTorch: `torch.nn.init.kaiming_uniform_`, for weights of shape (out, in, ...).

    Source: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet
    Classification", 2015, https://arxiv.org/abs/1502.01852
    """
    gain = _kaiming_gain("kaiming_uniform", a, mode, nonlinearity)
    return initializer(lambda key, shape, dtype: _evenly(key, shape, dtype, gain / math.sqrt(_fan(shape, mode))))


def kaiming_normal(a: float = 0.0, mode: FanMode = "fan_in", nonlinearity: Nonlinearity = "leaky_relu") -> Initializer:
    """Draw values from the normal distribution, scaled by the number of inputs or outputs and the nonlinearity.

        mean 0, standard deviation gain / √fan

    The fan is the number of inputs or outputs of a kernel of shape (..., in, out), times the product of the leading
    sizes.

    Args:
        a: slope of leaky ReLU below zero. Default 0.
        mode: "fan_in" keeps the variance of the activations, "fan_out" the variance of the gradients. Default "fan_in".
        nonlinearity: name of the function that follows, for `calculate_gain`. Default "leaky_relu".

    Returns:
        An initializer, `init(key, shape, dtype) -> array`, for shapes (..., in, out).

    Raises:
        ValueError: if mode or nonlinearity is unknown; when called, if the shape has fewer than two axes.

    Example:
        >>> import jax
        >>> from jaxtrain import nn
        >>> kernel = nn.initializers.kaiming_normal(mode="fan_out")(jax.random.key(0), (100, 200))
        >>> print(f"{kernel.std():.3f}")
        0.101

    PyTorch: `torch.nn.init.kaiming_normal_`, for weights of shape (out, in, ...).

    Source: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet
    Classification", 2015, https://arxiv.org/abs/1502.01852
    """
    gain = _kaiming_gain("kaiming_normal", a, mode, nonlinearity)
    return initializer(lambda key, shape, dtype: _normally(key, shape, dtype, gain / math.sqrt(_fan(shape, mode))))


def _kaiming_gain(where: str, a: float, mode: FanMode, nonlinearity: Nonlinearity) -> float:
    check_choice(where, "mode", mode, ("fan_in", "fan_out"))
    return calculate_gain(nonlinearity, a)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """The numbers of inputs and outputs of a kernel of `shape`; at least 1, as an empty kernel needs no scale."""
    if len(shape) < 2:
        raise ValueError(f"fan_in and fan_out need a shape of at least two axes, (..., in, out), got {shape}")
    *positions, inputs, outputs = shape
    return max(math.prod(positions) * inputs, 1), max(math.prod(positions) * outputs, 1)


def _fan(shape: tuple[int, ...], mode: FanMode) -> int:
    return _fans(shape)[0 if mode == "fan_in" else 1]


def _evenly(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype, std: float) -> jax.Array:
    """Uniform values of standard deviation `std`."""
    bound = math.sqrt(3) * std
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def _normally(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype, std: float) -> jax.Array:
    """Normal values of standard deviation `std`."""
    return std * jax.random.normal(key, shape, dtype)
