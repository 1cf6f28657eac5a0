"""The errors of XLA's elementary functions: some are less exact than PyTorch's, and JAX has no others."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from parity._compilation import compiled

FUNCTIONS = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "exp": jnp.exp,
    "log": jnp.log,
    "erf": jax.lax.erf,
    "log1p": jnp.log1p,
    "expm1": jnp.expm1,
}
"""XLA's functions by PyTorch's names."""


def name(func: Any) -> str:
    """The name of an operation, whether in place or not."""
    return func.overloadpacket.__name__.removesuffix("_")


def errors(func: Any, input: torch.Tensor, exact: torch.Tensor, precision: str) -> torch.Tensor:
    """The distances of XLA's values in a precision from the exact ones; zero where they are not finite.

    How exact XLA is depends on its options: they are those of a case's run in that precision.
    """
    with jax.enable_x64(True):
        values = compiled(FUNCTIONS[name(func)], precision, ())(jnp.asarray(input.numpy(), precision))
    return torch.nan_to_num((torch.tensor(np.asarray(values, np.float64)) - exact).abs(), nan=0.0, posinf=0.0)
