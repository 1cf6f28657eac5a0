"""Initializers that draw every value from one distribution."""

import jax
from jax.nn.initializers import Initializer

from jaxtrain.nn.initializers._initializer import initializer


def uniform(a: float = 0.0, b: float = 1.0) -> Initializer:
    """Values drawn evenly from [a, b).

    Args:
        a: the lower bound. Default 0.
        b: the upper bound. Default 1.

    Returns:
        An initializer, `init(key, shape, dtype) -> array`.

    Example:
        >>> from jaxtrain import nn
        >>> values = nn.initializers.uniform(-0.5, 0.5)(jax.random.key(0), (1000,))
        >>> print(f"{values.min():.2f} {values.mean():.2f} {values.max():.2f}")
        -0.50 0.00 0.50

    Torch counterpart: `torch.nn.init.uniform_`.
    """
    return initializer(lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, a, b))
