"""Muon with an iteration that is exact where the truth is computed, and matrices for it."""

from contextlib import nullcontext
from unittest.mock import patch

import jax
import jax.numpy as jnp
import optax
import torch

from jaxtrain import optim
from parity.draws import generator
from parity.subjects.optimizer import STEPS, Leaf


class TorchMuon(torch.optim.Muon):
    """PyTorch's Muon, except that it iterates float64 parameters in float64: in bfloat16 the truth would be rounded."""

    def step(self, closure=None):
        exact = self.param_groups[0]["params"][0].dtype == torch.float64
        with patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone) if exact else nullcontext():
            return super().step(closure)


def muon(**options) -> optax.GradientTransformation:
    """Our Muon for the same comparison: it iterates in float64 where JAX's float64 is enabled, else in bfloat16."""
    is_exact = jax.dtypes.canonicalize_dtype(float) == jnp.float64
    return optim.muon(**options, dtype=jnp.float64 if is_exact else jnp.bfloat16)


def matrices(steps: int = STEPS) -> dict[str, Leaf]:
    """A tall, a wide and a square matrix in PyTorch's layout, with gradients of zero, tiny, huge and of low rank."""
    rng = generator(2)

    def leaf(rows: int, columns: int) -> Leaf:
        gradients = rng.normal(size=(steps, rows, columns))
        gradients[: steps // 15] = 0
        gradients[steps // 3 : steps // 2] *= 1e-6
        gradients[2 * steps // 3 :][: max(1, steps // 30)] *= 1e6
        low_rank = gradients[5 * steps // 6 :]
        low_rank[:] = low_rank[:, :, :1] * low_rank[:, :1, :]
        return Leaf(rng.normal(size=(rows, columns)), gradients)

    return {"tall": leaf(9, 4), "wide": leaf(3, 7), "square": leaf(5, 5)}
