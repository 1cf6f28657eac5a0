"""One step of a PyTorch scheduler as an affine map of the rate, and many steps folded into one map."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

_BLOCK = 128


class Affine(NamedTuple):
    """The map `rate -> scale * rate + base * lr + offset`.

    This is a step of any PyTorch scheduler: it reads the rate that its optimizer has now and writes another one. The
    base rate `lr` stays symbolic, so that a fold of many steps can be differentiated with respect to it.
    """

    scale: jax.Array | float = 1.0
    base: jax.Array | float = 0.0
    offset: jax.Array | float = 0.0

    def __call__(self, rate: jax.Array, lr: jax.Array) -> jax.Array:
        return self.scale * rate + self.base * lr + self.offset

    def then(self, later: "Affine") -> "Affine":
        """This step, and `later` after it."""
        return Affine(
            later.scale * self.scale,
            later.scale * self.base + later.base,
            later.scale * self.offset + later.offset,
        )


def fold(step: Callable[[jax.Array], Affine], count: jax.Array) -> Affine:
    """The steps at 0, 1, …, `count` as one map.

    They are computed a block at a time, because that vectorizes, and composed one by one, as PyTorch executes them.
    """

    def add_block(block: jax.Array, so_far: Affine) -> Affine:
        counts = _BLOCK * block + jnp.arange(_BLOCK, dtype=jnp.float64)
        steps = jax.vmap(step)(counts)
        steps = jax.tree.map(lambda field, nothing: jnp.where(counts <= count, field, nothing), steps, Affine())
        return lax.scan(lambda total, later: (total.then(later), None), so_far, steps)[0]

    nothing = Affine(*jnp.asarray(Affine(), jnp.float64))
    return lax.fori_loop(0, (count // _BLOCK).astype(int) + 1, add_block, nothing)
