"""Moving averages in the order of operations of PyTorch's kernels."""

import jax
import jax.numpy as jnp


def lerp(start: jax.Array, end: jax.Array, weight: jax.Array) -> jax.Array:
    """`start` moved towards `end` by `weight`, the share of the way, in [0, 1].

        start + weight·(end - start) if weight < 1/2 else end - (1 - weight)·(end - start)

    As in `torch.lerp`, the way is counted from the nearer end. So a weight of 1 gives exactly `end`, while
    `start + (end - start)` loses digits of `end`, or all of them, if `start` is large.
    """
    from_start = weight < 0.5
    share = jnp.where(from_start, weight, weight - 1)
    return jnp.where(from_start, start, end) + share * (end - start)
