"""SparseAdam, for tables in which a step touches only a few rows."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.float64 import raised
from jaxtrain._ground.ranges import DECAY_RATE, POSITIVE
from jaxtrain._ground.sharding import left_to_xla
from jaxtrain.optim._hyperparameters import Hyperparameter, Ranges, namespace
from jaxtrain.optim._per_parameter import per_parameter
from jaxtrain.optim.sparse_rows import SparseRows

RANGES: Ranges = {"lr": POSITIVE, "betas": (DECAY_RATE, DECAY_RATE), "eps": POSITIVE}


class SparseAdamState(NamedTuple):
    """State of `sparse_adam`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate of the last update.
        exp_avg: running mean of the gradients of each row, over the steps that touched it.
        exp_avg_sq: running mean of their squares.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    exp_avg: Any = None
    exp_avg_sq: Any = None


def sparse_adam(
    lr: Hyperparameter = 1e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adam for gradients of single rows: all other rows, and their moments, stay as they are.

        m ← β₁·m + (1 - β₁)·g
        v ← β₂·v + (1 - β₂)·g²
        p ← p - η·√(1 - β₂ᵗ)/(1 - β₁ᵗ) · m/(√v + ε)

    The formulas apply to every row that has a gradient, even one of zero. t counts the steps of the table, not of a
    row, from 1. ε is added to √v before the bias correction.

    Args:
        lr: learning rate η > 0: a number, array or schedule, like every argument except the flag. Default 1e-3.
        betas: decay rates (β₁, β₂) of the two means, in [0, 1). Default (0.9, 0.999).
        eps: ε > 0, added to the denominator. Default 1e-8.
        maximize: use -g instead of g, to ascend instead of descend. Default False.

    Returns:
        An `optax.GradientTransformation` with a `SparseAdamState`, for gradients that are `SparseRows`. It needs the
        parameters in `update`. Its updates are dense, with zeros in the rows without a gradient. Buffers have the shape
        and dtype of their parameters. An index outside the table makes the update NaN.

    Raises:
        ValueError: if a hyper-parameter is out of range, or the rows do not fit the parameter.
        TypeError: if a gradient is dense.

    Example:
        Take the gradient with respect to the rows that were looked up:

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> table, tokens = jnp.ones((4, 2)), jnp.array([3, 1, 3])
        >>> rows = jax.grad(lambda rows: (rows**2).sum())(table[tokens])
        >>> optimizer = optim.sparse_adam(lr=0.5)
        >>> update, _ = optimizer.update(optim.SparseRows(tokens, rows), optimizer.init(table), table)
        >>> print((table + update).round(4))
        [[1.  1. ]
         [0.5 0.5]
         [1.  1. ]
         [0.5 0.5]]

    PyTorch: `torch.optim.SparseAdam`, for gradients as `nn.Embedding(sparse=True)` makes them. Optax has no
    counterpart.

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, https://arxiv.org/abs/1412.6980
    """

    def derived(step, h):
        beta1, beta2 = h.betas
        return {
            "step_size": h.lr * jnp.sqrt(1 - raised(beta2, step)) / (1 - raised(beta1, step)),
            "fresh1": 1 - beta1,
            "fresh2": 1 - beta2,
        }

    def update(g, p, b, h):
        like = (b.exp_avg, (b.exp_avg, b.exp_avg_sq))
        change, (exp_avg, exp_avg_sq) = left_to_xla(moved, g, b.exp_avg, b.exp_avg_sq, vars(h), like=like)
        return change, {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}

    def moved(gradient, exp_avg, exp_avg_sq, scalars):
        h = namespace(scalars)
        rows, touched, outside = _added(gradient, exp_avg)
        mean = exp_avg + h.fresh1 * (rows - exp_avg)
        square = exp_avg_sq + h.fresh2 * (rows * rows - exp_avg_sq)
        change = -h.step_size * (mean / (jnp.sqrt(square) + h.eps))
        return jnp.where(touched, change, jnp.where(outside, jnp.nan, 0)), (
            jnp.where(touched, mean, exp_avg),
            jnp.where(touched, square, exp_avg_sq),
        )

    return per_parameter(
        "sparse_adam",
        SparseAdamState,
        RANGES,
        {"lr": lr, "betas": betas, "eps": eps},
        buffers=("exp_avg", "exp_avg_sq"),
        derived=derived,
        update=update,
        maximize=maximize,
        reads_parameters=True,
        rows=SparseRows,
    )


def _added(gradient: SparseRows, table: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The sum of each row's gradients, which rows have one, and whether any index lies outside the table.

    In an array like the table: its update has that shape anyway, and to find equal indices would take a sort.
    """
    shape = table.shape
    indices, values = map(jnp.asarray, gradient)
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise TypeError(f"sparse_adam: expected integers as the indices of rows, got {indices.dtype}")
    if not shape or jnp.ndim(indices) != 1 or values.shape != (*indices.shape, *shape[1:]):
        raise ValueError(
            f"sparse_adam: expected indices of shape (n,) and values of shape (n, ...) with the rows of a parameter of "
            f"shape {shape}, got {jnp.shape(indices)} and {values.shape}"
        )
    indices, past_end = _signed(indices), shape[0]
    outside = (indices < -1) | (indices >= past_end)
    indices = jnp.where((indices < 0) | outside, past_end, indices)
    # One column more counts the gradients of a row: a second scatter would cost as much as the first.
    values = values.reshape(len(values), math.prod(shape[1:]))
    values = jnp.concatenate([values, jnp.ones((len(values), 1), values.dtype)], axis=1)
    sums = jnp.zeros((past_end, values.shape[1]), values.dtype).at[indices].add(values, mode="drop")
    touched = sums[:, -1].reshape(-1, *[1] * (len(shape) - 1)) > 0
    return sums[:, :-1].reshape(shape), touched, outside.any()


def _signed(indices: jax.Array) -> jax.Array:
    """The indices as signed integers of at least 32 bits, which hold -1 and the number of rows of any table."""
    known = jnp.iinfo(indices.dtype)
    wide = jnp.int64 if known.bits == 64 else jnp.int32
    largest = min(known.max, jnp.iinfo(wide).max)  # An unsigned index that is larger must not become negative.
    return jnp.minimum(indices, jnp.asarray(largest, indices.dtype)).astype(wide)
