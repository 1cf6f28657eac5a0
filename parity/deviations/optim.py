"""Intentional deviations of optimizers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from jaxtrain import optim
from parity.deviations.deviation import Deviation

CONSTANTS = np.random.default_rng(0).normal(size=1000).astype(np.float32)


def centered_rmsprop() -> float:
    """The share of parameters that are NaN after 2000 steps of constant gradients."""
    optimizer, zeros = optim.rmsprop(centered=True), jnp.zeros(CONSTANTS.shape)

    def step(state: Any, _: None) -> tuple[Any, jax.Array]:
        updates, state = optimizer.update(jnp.asarray(CONSTANTS), state)
        return state, updates

    return float(jnp.isnan(jax.lax.scan(step, optimizer.init(zeros), length=2000)[1].sum(axis=0)).mean())


def torch_centered_rmsprop() -> float:
    parameter = torch.zeros(CONSTANTS.shape, requires_grad=True)
    optimizer = torch.optim.RMSprop([parameter], centered=True)
    parameter.grad = torch.tensor(CONSTANTS)
    for _ in range(2000):
        optimizer.step()
    return float(parameter.isnan().float().mean())


def torch_clipped_by_value(limit: float) -> torch.Tensor:
    parameter = torch.zeros(2, requires_grad=True)
    parameter.grad = torch.tensor([-2.0, 0.25])
    torch.nn.utils.clip_grad_value_([parameter], limit)
    return parameter.grad


def rprop_of_tiny_gradients() -> jax.Array:
    """Where three gradients of 1e-30 lead."""
    optimizer, parameter, gradient = optim.rprop(0.01), jnp.zeros(1), jnp.full(1, 1e-30)
    state = optimizer.init(parameter)
    for _ in range(3):
        update, state = optimizer.update(gradient, state, parameter)
        parameter += update
    return parameter


def torch_rprop_of_tiny_gradients() -> torch.Tensor:
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Rprop([parameter], 0.01)
    for _ in range(3):
        parameter.grad = torch.full((1,), 1e-30)
        optimizer.step()
    return parameter


def sparse_adam_of_row(row: int) -> jax.Array:
    """The update of a table of three rows."""
    optimizer, table = optim.sparse_adam(), jnp.zeros((3, 1))
    gradient = optim.SparseRows(jnp.array([row]), jnp.ones((1, 1)))
    return optimizer.update(gradient, optimizer.init(table), table)[0].ravel()


def torch_sparse_adam_of_row(row: int) -> torch.Tensor:
    table = torch.zeros(3, 1, requires_grad=True)
    table.grad = torch.sparse_coo_tensor([[row]], [[1.0]], (3, 1), check_invariants=False)
    torch.optim.SparseAdam([table]).step()
    return table


DEVIATIONS: list[Deviation] = [
    Deviation(
        "optim.rmsprop",
        "share of NaN, centered, 2000 steps of 1000 constant gradients",
        "rounding makes the estimated variance negative; here it counts as 0 then",
        centered_rmsprop,
        torch_centered_rmsprop,
    ),
    Deviation(
        "optim.clip_grad_value",
        "a limit of -1",
        "a negative limit is a mistake; PyTorch sets every element to it",
        lambda: optim.clip_grad_value(-1.0).update(jnp.array([-2.0, 0.25]), ())[0],
        lambda: torch_clipped_by_value(-1.0),
    ),
    Deviation(
        "optim.rprop",
        "three gradients of 1e-30",
        "PyTorch multiplies gradients to compare their signs, and the product underflows",
        rprop_of_tiny_gradients,
        torch_rprop_of_tiny_gradients,
    ),
    Deviation(
        "optim.sparse_adam",
        "row 7 of 3",
        "compiled code cannot raise",
        lambda: sparse_adam_of_row(7),
        lambda: torch_sparse_adam_of_row(7),
    ),
]
