"""Moving averages, as PyTorch's kernels take them."""

import jax
import jax.numpy as jnp


def lerp(start: jax.Array, end: jax.Array, weight: jax.Array) -> jax.Array:
    """`start`, moved towards `end` by the share `weight`, in [0, 1], of the way.

    It is counted from the nearer end, as in `torch.lerp`: with a weight of 1 the result is `end` itself, of which
    `start + (end - start)` would lose the digits, or all of it, behind a large `start`.
    """
    way = end - start
    return jnp.where(weight < 0.5, start + weight * way, end - (1 - weight) * way)
