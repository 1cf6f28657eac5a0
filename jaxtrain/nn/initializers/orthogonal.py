"""An initializer of orthogonal matrices."""

import math

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from jaxtrain.nn.initializers._initializer import initializer


def orthogonal(gain: float = 1.0) -> Initializer:
    """Draw a matrix with orthogonal rows or columns, whichever are fewer.

    A kernel of shape (..., in, out) counts as a matrix with `out` columns. All orthogonal matrices are equally likely.

    Args:
        gain: length of the orthogonal rows or columns. Default 1.

    Returns:
        An initializer, `init(key, shape, dtype) -> array`, for shapes (..., in, out).

    Raises:
        ValueError: when called, if the shape has fewer than two axes.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> kernel = nn.initializers.orthogonal(gain=2.0)(jax.random.key(0), (5, 3))
        >>> print(jnp.round(kernel.T @ kernel, 3) + 0.0)
        [[4. 0. 0.]
         [0. 4. 0.]
         [0. 0. 4.]]

    PyTorch: `torch.nn.init.orthogonal_`, for weights of shape (out, in, ...).

    Source: Saxe, McClelland and Ganguli, "Exact Solutions to the Nonlinear Dynamics of Learning in Deep Linear Neural
    Networks", 2014, https://arxiv.org/abs/1312.6120
    """

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        if len(shape) < 2:
            raise ValueError(f"orthogonal: expected a shape of at least two axes, (..., in, out), got {shape}")
        if 0 in shape:
            return jnp.zeros(shape, dtype)
        rows, columns = math.prod(shape[:-1]), shape[-1]
        factor, triangle = jnp.linalg.qr(jax.random.normal(key, (max(rows, columns), min(rows, columns)), dtype))
        # The factorization fixes the signs; the signs of the triangle's diagonal make all matrices equally likely.
        factor *= jnp.sign(jnp.diagonal(triangle))[None]
        return gain * (factor if rows >= columns else factor.T).reshape(shape)

    return initializer(draw)
