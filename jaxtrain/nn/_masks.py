"""Random masks for dropout."""

from collections.abc import Collection

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from jaxtrain._ground.dtypes import default_float
from jaxtrain._ground.float64 import as_float64, in_float64


def keep_mask(
    where: str, key: jax.Array | None, p: float | jax.Array, shape: tuple[int, ...], shared: Collection[int] = ()
) -> Bool[Array, "..."]:
    """A mask for an array of `shape`: False with probability `p`, drawn once along the axes `shared`.

    The probability is exact to 2^-32, and the draw does not depend on the dtype of the data. Comparing the random words
    directly saves the tenth of the time that `jax.random.bernoulli` spends on converting them to floats.
    """
    if key is None:
        raise ValueError(f"{where}: training needs randomness; pass key=jax.random.key(...), or training=False")

    def threshold(p: float | jax.Array) -> tuple[jax.Array, jax.Array]:
        # At p = 1 the threshold would be 2^32, one more than a word holds.
        rounded = jnp.minimum(jnp.round(as_float64(p) * 2.0**32), 2.0**32 - 1)
        return rounded.astype(jnp.uint32), as_float64(p) < 1

    dropped_words, any_kept = in_float64(threshold, p, dtype=default_float())
    words = jax.random.bits(key, tuple(1 if axis in shared else size for axis, size in enumerate(shape)), jnp.uint32)
    return (words >= dropped_words) & any_kept
