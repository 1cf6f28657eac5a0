"""Tables whose gradients are single rows, on both sides."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import torch

from jaxtrain import optim
from parity.draws import generator
from parity.subjects.optimizer import STEPS, Leaf


@dataclass(frozen=True, kw_only=True)
class SparseLeaf(Leaf):
    """A table, whose gradients are rows at `indices`, -1 for none."""

    indices: np.ndarray

    def torch_gradient(self, gradients: torch.Tensor, step: int) -> torch.Tensor:
        given = self.indices[step] >= 0
        indices = self.indices[step][None, given]
        return torch.sparse_coo_tensor(indices, gradients[step][given], self.initial.shape, check_invariants=True)

    def jax_gradients(self, gradients: jax.Array) -> optim.SparseRows:
        return optim.SparseRows(jnp.asarray(self.indices), gradients)


def tables(steps: int = STEPS) -> dict[str, Leaf]:
    """Rows that are touched often, seldom, twice at once and never; steps with few rows and with none."""
    rng = generator(4)

    def leaf(rows: int, touched: int, row: tuple[int, ...]) -> Leaf:
        indices = (rows * rng.random((steps, touched)) ** 2).astype(int) % (rows - 1)
        indices[rng.random(indices.shape) < 0.2] = -1
        indices[steps // 6 : steps // 6 + 5] = -1
        gradients = rng.normal(size=(steps, touched, *row)) * 10 ** rng.uniform(-6, 1, (steps, touched, *row))
        return SparseLeaf(initial=rng.normal(size=(rows, *row)), gradients=gradients, indices=indices)

    return {"table": leaf(7, 4, (3,)), "vector": leaf(5, 2, ())}
