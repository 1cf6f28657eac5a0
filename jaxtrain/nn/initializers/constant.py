"""Initializers without randomness: constants and identities."""

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from jaxtrain._ground.checks import check_integer
from jaxtrain.nn.initializers._initializer import initializer


def constant(val: float) -> Initializer:
    """Set every element to one value.

    Args:
        val: the value.

    Returns:
        An initializer, `init(key, shape, dtype) -> array`.

    Example:
        >>> import jax
        >>> from jaxtrain import nn
        >>> print(nn.initializers.constant(0.25)(jax.random.key(0), (3,)))
        [0.25 0.25 0.25]

    PyTorch: `torch.nn.init.constant_`.
    """
    return initializer(lambda key, shape, dtype: jnp.full(shape, val, dtype))


def ones() -> Initializer:
    """Set every element to one.

    Returns:
        An initializer, `init(key, shape, dtype) -> array`.

    Example:
        >>> import jax
        >>> from jaxtrain import nn
        >>> print(nn.initializers.ones()(jax.random.key(0), (2,)))
        [1. 1.]

    PyTorch: `torch.nn.init.ones_`.
    """
    return constant(1.0)


def zeros() -> Initializer:
    """Set every element to zero.

    Returns:
        An initializer, `init(key, shape, dtype) -> array`.

    Example:
        >>> import jax
        >>> from jaxtrain import nn
        >>> print(nn.initializers.zeros()(jax.random.key(0), (2,)))
        [0. 0.]

    PyTorch: `torch.nn.init.zeros_`.
    """
    return constant(0.0)


def eye() -> Initializer:
    """Set a kernel to the identity, so that it passes on as many inputs as possible.

    The diagonal is one; all else is zero.

    Returns:
        An initializer, `init(key, shape, dtype) -> array`, for shapes (in_features, out_features).

    Raises:
        ValueError: when called, if the shape does not have two axes.

    Example:
        >>> import jax
        >>> from jaxtrain import nn
        >>> print(nn.initializers.eye()(jax.random.key(0), (2, 3)))
        [[1. 0. 0.]
         [0. 1. 0.]]

    PyTorch: `torch.nn.init.eye_`.
    """

    def draw(_: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        if len(shape) != 2:
            raise ValueError(f"eye: expected a shape (in_features, out_features), got {shape}")
        return jnp.eye(*shape, dtype=dtype)

    return initializer(draw)


def dirac(groups: int = 1) -> Initializer:
    """Set a convolution's kernel to the identity, so that it passes on as many channels as possible.

    The diagonal of the kernel's centre is one; all else is zero.

    Args:
        groups: number of groups of channels, each of which is passed on separately. Default 1.

    Returns:
        An initializer, `init(key, shape, dtype) -> array`, for shapes (*kernel_size, in_channels // groups,
        out_channels).

    Raises:
        ValueError: if groups is not positive; when called, if the shape does not have three, four or five axes, or
            groups does not divide the number of output channels.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> kernel = nn.initializers.dirac()(jax.random.key(0), (3, 1, 1))
        >>> print(nn.conv(jnp.array([[[2.0], [3.0], [5.0]]]), kernel, padding=1).ravel())
        [2. 3. 5.]

    PyTorch: `torch.nn.init.dirac_`, for weights of shape (out_channels, in_channels // groups, *kernel_size).
    """
    check_integer("dirac", "groups", groups, 1)

    def draw(_: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        if len(shape) not in (3, 4, 5):
            raise ValueError(f"dirac: expected a shape of three, four or five axes, got {shape}")
        *size, inputs, outputs = shape
        if outputs % groups:
            raise ValueError(
                f"dirac: groups must divide the output channels, got {groups} groups and {outputs} channels"
            )
        identity = jnp.tile(jnp.eye(inputs, outputs // groups, dtype=dtype), groups)
        return jnp.zeros(shape, dtype).at[tuple(k // 2 for k in size)].set(identity)

    return initializer(draw)
