"""Initializers that draw all values from one distribution."""

import math

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer
from jax.scipy.special import ndtr, ndtri

from jaxtrain._ground.checks import check_range
from jaxtrain.nn.initializers._initializer import initializer


def uniform(a: float = 0.0, b: float = 1.0) -> Initializer:
    """Draw values uniformly from [a, b).

    Args:
        a: lower bound. Default 0.
        b: upper bound, at least a. Default 1.

    Returns:
        An initializer, `init(key, shape, dtype) -> array`.

    Raises:
        ValueError: if b is below a.

    Example:
        >>> import jax
        >>> from jaxtrain import nn
        >>> values = nn.initializers.uniform(-0.5, 0.5)(jax.random.key(0), (1000,))
        >>> print(f"{values.min():.2f} {values.mean():.2f} {values.max():.2f}")
        -0.50 0.00 0.50

    PyTorch: `torch.nn.init.uniform_`.
    """
    check_range("uniform", "b", b, a)
    return initializer(lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, a, b))


def normal(mean: float = 0.0, std: float = 1.0) -> Initializer:
    """Draw values from the normal distribution.

    Args:
        mean: mean. Default 0.
        std: standard deviation, at least 0. Default 1.

    Returns:
        An initializer, `init(key, shape, dtype) -> array`.

    Raises:
        ValueError: if std is negative.

    Example:
        >>> import jax
        >>> from jaxtrain import nn
        >>> values = nn.initializers.normal(3.0, 0.1)(jax.random.key(0), (10_000,))
        >>> print(f"{values.mean():.2f} {values.std():.2f}")
        3.00 0.10

    PyTorch: `torch.nn.init.normal_`.
    """
    check_range("normal", "std", std, 0.0)
    return initializer(lambda key, shape, dtype: mean + std * jax.random.normal(key, shape, dtype))


def trunc_normal(mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Initializer:
    """Draw values from the normal distribution, truncated to [a, b].

    Args:
        mean: mean before truncation. Default 0.
        std: standard deviation before truncation, above 0. Default 1.
        a: lower bound; a value, not a number of deviations. Default -2.
        b: upper bound, above a. Default 2.

    Returns:
        An initializer, `init(key, shape, dtype) -> array`.

    Raises:
        ValueError: if std is not positive, or b is not above a.

    Example:
        >>> import jax
        >>> from jaxtrain import nn
        >>> values = nn.initializers.trunc_normal(0.0, 1.0, 1.0, 3.0)(jax.random.key(0), (10_000,))
        >>> print(f"{values.min():.2f} {values.mean():.2f} {values.max():.2f}")
        1.00 1.51 3.00

    PyTorch: `torch.nn.init.trunc_normal_`, which redraws values until they lie in [a, b]; here each value is drawn
    once, by the inverse of the distribution function.
    """
    check_range("trunc_normal", "std", std, 0.0, open_low=True)
    check_range("trunc_normal", "b", b, a, open_low=True)
    # Probabilities near the bounds keep their digits only in the lower tail of the normal distribution.
    side = -1 if a + b > 2 * mean else 1
    low, high = sorted((side * (a - mean) / std, side * (b - mean) / std))

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        probability = jax.random.uniform(key, shape, dtype, ndtr(jnp.array(low, dtype)), ndtr(jnp.array(high, dtype)))
        return jnp.clip(mean + std * side * ndtri(probability), a, b)

    return initializer(draw)


def sparse(sparsity: float, std: float = 0.01) -> Initializer:
    """Draw a kernel in which each input reaches few outputs.

    In each row, ⌈sparsity · out_features⌉ elements, chosen at random, are zero; the others are normal with mean 0.

    Args:
        sparsity: fraction of zeros in a row, in [0, 1].
        std: standard deviation of the other elements, at least 0. Default 0.01.

    Returns:
        An initializer, `init(key, shape, dtype) -> array`, for shapes (in_features, out_features).

    Raises:
        ValueError: if sparsity or std is out of range; when called, if the shape does not have two axes.

    Example:
        >>> import jax
        >>> from jaxtrain import nn
        >>> kernel = nn.initializers.sparse(0.75)(jax.random.key(0), (3, 8))
        >>> print((kernel == 0).sum(1))
        [6 6 6]

    PyTorch: `torch.nn.init.sparse_`; its columns are the rows here.

    Source: Martens, "Deep Learning via Hessian-Free Optimization", 2010,
    https://www.cs.toronto.edu/~jmartens/docs/Deep_HessianFree.pdf
    """
    check_range("sparse", "sparsity", sparsity, 0.0, 1.0)
    check_range("sparse", "std", std, 0.0)

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        if len(shape) != 2:
            raise ValueError(f"sparse: expected a shape (in_features, out_features), got {shape}")
        values_key, places_key = jax.random.split(key)
        kept = jnp.broadcast_to(jnp.arange(shape[1]) >= math.ceil(sparsity * shape[1]), shape)
        kept = jax.random.permutation(places_key, kept, axis=1, independent=True)
        return jnp.where(kept, std * jax.random.normal(values_key, shape, dtype), 0)

    return initializer(draw)
