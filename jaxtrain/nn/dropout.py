"""Dropout of single elements."""

from collections.abc import Collection

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_scalar
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.float64 import as_float64, in_float64
from jaxtrain.nn._arrays import as_floating, check_flags
from jaxtrain.nn._masks import keep_mask
from jaxtrain.nn._random_layer import RandomLayer


def dropout(
    input: Float[Array, "*shape"], p: float | jax.Array = 0.5, training: bool = True, *, key: jax.Array | None = None
) -> Float[Array, "*shape"]:
    """Zero each element with probability p, and scale the others to keep the mean.

        y = x / (1 - p) where kept, 0 where dropped

    Args:
        input: array of any shape.
        p: probability of dropping an element, in [0, 1]; it may be traced. Default 0.5.
        training: whether to drop elements; if not, the input is returned unchanged. Default True.
        key: random key; needed in training. Default None.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if p lies outside [0, 1], or the key is missing in training.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.dropout(jnp.ones(8), p=0.2, key=jax.random.key(2)))
        [1.25 1.25 1.25 1.25 1.25 1.25 1.25 0.  ]

    PyTorch: `torch.nn.functional.dropout`, which multiplies by the mask: a dropped infinity or NaN becomes NaN; here it
    becomes 0.

    Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014,
    https://jmlr.org/papers/v15/srivastava14a.html
    """
    input = as_floating("dropout", input)
    check_scalar("dropout", "p", p, 0.0, 1.0)
    check_flags("dropout", training=training)
    return drop("dropout", input, p, key) if training else input


def drop(
    where: str, input: jax.Array, p: float | jax.Array, key: jax.Array | None, shared: Collection[int] = ()
) -> jax.Array:
    """`input` under a mask drawn once along the axes `shared`, scaled by 1 / (1 - p)."""
    dtype = at_least_float32(input.dtype)
    # At p = 1 the scale is irrelevant as long as it is finite.
    scale = in_float64(lambda p: 1 / jnp.where(p < 1, 1 - as_float64(p), 1), p, dtype=dtype)
    mask = keep_mask(where, key, p, input.shape, shared)
    return jnp.where(mask, input.astype(dtype) * scale, 0).astype(input.dtype)


class Dropout(RandomLayer):
    """Zero each element with probability p in training, and scale the others to keep the mean.

        y = x / (1 - p) where kept, 0 where dropped

    `model.train()` and `model.eval()` switch it on and off, as does the attribute `deterministic`.

    Args:
        p: probability of dropping an element, in [0, 1]. Default 0.5.
        rngs: random streams; the layer forks the stream `dropout`.

    Returns:
        When called with an array: an array of the same shape and dtype. `deterministic=` overrides the mode.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if p lies outside [0, 1].

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.Dropout(0.75, rngs=nnx.Rngs(dropout=0))
        >>> print(layer(jnp.ones(8)))
        [4. 0. 0. 0. 0. 0. 4. 0.]
        >>> layer.eval()
        >>> print(layer(jnp.ones(3)))
        [1. 1. 1.]

    PyTorch: `torch.nn.Dropout`. The two frameworks draw different masks. A dropped infinity or NaN becomes 0 here and
    NaN in PyTorch.

    Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014,
    https://jmlr.org/papers/v15/srivastava14a.html
    """

    def _masked(self, input: jax.Array, *, training: bool, key: jax.Array | None) -> jax.Array:
        return dropout(input, self.p, training, key=key)
