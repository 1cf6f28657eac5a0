"""Random masks of the dropouts."""

from collections.abc import Collection

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from jaxtrain._checks import is_concrete


def keep_mask(
    where: str, key: jax.Array | None, p: float | jax.Array, shape: tuple[int, ...], shared: Collection[int] = ()
) -> Bool[Array, "..."]:
    """A mask for an array of `shape`: False with probability `p`, drawn once along the axes `shared`.

    The probability is exact to 2^-32, and the draw does not depend on the dtype of the data. Comparing the random words
    themselves saves the tenth that `jax.random.bernoulli` spends on turning them into floats.
    """
    if key is None:
        raise ValueError(f"{where}: training needs randomness; pass key=jax.random.key(...), or training=False")
    words = jax.random.bits(key, tuple(1 if axis in shared else size for axis, size in enumerate(shape)), jnp.uint32)
    if is_concrete(p):
        dropped_words = round(float(p) * 2**32)
        return words >= np.uint32(dropped_words) if dropped_words < 2**32 else jnp.zeros_like(words, bool)
    # As p = 1 would overflow the words' type, it is treated apart.
    below_one = jnp.minimum(p, 1 - 2**-24)
    return (words >= (below_one * 2.0**32).astype(jnp.uint32)) & (p < 1)


def inverse_keep_rate(p: float | jax.Array) -> float | jax.Array:
    """1/(1 - p), the factor that keeps the mean of the masked data; 1 where nothing is kept, to stay finite."""
    if is_concrete(p):
        return 1 / (1 - float(p)) if float(p) < 1 else 1.0
    return 1 / jnp.where(p < 1, 1 - p, 1)
