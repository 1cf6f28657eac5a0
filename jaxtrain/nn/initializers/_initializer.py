"""Make a JAX initializer from a function that draws values."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from jaxtrain._ground.dtypes import at_least_float32, default_float


def initializer(draw: Callable[[jax.Array, tuple[int, ...], jnp.dtype], jax.Array]) -> Initializer:
    """An initializer that fills arrays with `draw(key, shape, dtype)`.

    Arrays narrower than float32 are drawn in float32 and rounded: a uniform float16 number has only 10 random bits.
    """

    def init(key: jax.Array, shape: Sequence[Any], dtype: Any = None, out_sharding: Any = None) -> jax.Array:
        dtype = default_float() if dtype is None else jnp.dtype(dtype)
        values = draw(key, tuple(shape), at_least_float32(dtype)).astype(dtype)
        return values if out_sharding is None else jax.sharding.reshard(values, out_sharding)

    return init
