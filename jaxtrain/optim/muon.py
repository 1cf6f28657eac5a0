"""Muon."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import DTypeLike

from jaxtrain._ground.checks import check_choice, check_flag, check_integer
from jaxtrain._ground.ranges import ANY, NOT_NEGATIVE
from jaxtrain._ground.sharding import left_to_xla
from jaxtrain.optim._hyperparameters import Hyperparameter, Ranges
from jaxtrain.optim._lerp import lerp
from jaxtrain.optim._per_parameter import per_parameter

RANGES: Ranges = {
    "lr": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "momentum": NOT_NEGATIVE,
    "ns_coefficients": (ANY, ANY, ANY),
    "eps": NOT_NEGATIVE,
}


class MuonState(NamedTuple):
    """State of `muon`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate of the last update.
        momentum_buffer: running mean of each parameter's gradients.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    momentum_buffer: Any = None


def muon(
    lr: Hyperparameter = 1e-3,
    weight_decay: Hyperparameter = 0.1,
    momentum: Hyperparameter = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[Hyperparameter, Hyperparameter, Hyperparameter] = (3.4445, -4.7750, 2.0315),
    eps: Hyperparameter = 1e-7,
    ns_steps: int = 5,
    adjust_lr_fn: str | None = None,
    *,
    axis: int = -1,
    dtype: DTypeLike = jnp.bfloat16,
) -> optax.GradientTransformation:
    """Muon, for matrices only: the running mean of the gradients, made nearly orthogonal.

        m ← μ·m + (1 - μ)·g
        u ← μ·m + (1 - μ)·g if nesterov else m
        X ← u/max(‖u‖, ε)
        X ← a·X + (b·A + c·A²)·X with A = X·Xᵀ, n times
        p ← p - η·λ·p - η·s·X

    Five of these Newton-Schulz iterations bring every singular value near 1. The factor s depends on the shape: √max(1,
    outputs/inputs), or 0.2·√max(outputs, inputs) with `adjust_lr_fn="match_rms_adamw"`, which allows learning rates and
    decays of `adamw`. The decay does not have this factor.

    Args:
        lr: learning rate η ≥ 0: a number, array or schedule, like `weight_decay`, `momentum`, `ns_coefficients` and
            `eps`. Default 1e-3.
        weight_decay: λ ≥ 0, decoupled and multiplied by the learning rate. Default 0.1.
        momentum: μ ≥ 0. Default 0.95.
        nesterov: look ahead along the momentum. Default True.
        ns_coefficients: coefficients (a, b, c) of the iteration, any numbers. Default (3.4445, -4.7750, 2.0315).
        eps: ε ≥ 0, the smallest norm to divide by. Default 1e-7.
        ns_steps: number n of iterations, from 0 to 99. Default 5.
        adjust_lr_fn: choice of the factor s: `"match_rms_adamw"`, or `"original"`, which None means too. Default None.
        axis: axis of a matrix that counts the outputs: the last one as in the kernels of Flax, or 0 as in the weights
            of PyTorch. Default -1.
        dtype: floating point dtype of the iteration. Like `axis` and `ns_steps`, it belongs in the `static_args` of
            `optax.inject_hyperparams`. Default bfloat16.

    Returns:
        An `optax.GradientTransformation` with a `MuonState`, which needs the parameters in `update` if they decay.
        Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range or, in `init`, if a parameter is not a matrix.

    Example:
        Muon is for hidden layers; give biases, norms, embeddings and often the last layer to `adamw`:

        >>> import jax
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from jaxtrain import optim
        >>> params = {"hidden": {"kernel": jnp.ones((3, 12)), "bias": jnp.ones(12)}}
        >>> optimizer = optax.partition(
        ...     {"muon": optim.muon(lr=0.1, weight_decay=0.0), "adamw": optax.adamw(3e-4)},
        ...     lambda params: jax.tree.map(lambda p: "muon" if p.ndim == 2 else "adamw", params),
        ... )
        >>> updates, _ = optimizer.update(params, optimizer.init(params), params)

        The only singular value of this gradient is 6. It becomes 0.7, times the learning rate 0.1, times s = √(12/3):

        >>> round(float(jnp.linalg.norm(updates["hidden"]["kernel"])), 2)
        0.14

    PyTorch: `torch.optim.Muon`, which takes the rows of a matrix as its outputs. `optax.contrib.muon` iterates in the
    dtype of the parameter, corrects the bias of the running mean, and has a default decay of 0.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
    https://kellerjordan.github.io/posts/muon/

    Source: Liu et al., "Muon is Scalable for LLM Training", 2025, https://arxiv.org/abs/2502.16982
    """
    check_flag("muon", "nesterov", nesterov)
    check_integer("muon", "ns_steps", ns_steps, 0, 99)
    check_choice("muon", "adjust_lr_fn", adjust_lr_fn, (None, "original", "match_rms_adamw"))
    check_choice("muon", "axis", axis, (-1, 0, 1, -2))
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"muon: dtype must be a floating point dtype, got {dtype!r}")

    def derived(step, h):
        return {"fresh": 1 - h.momentum}

    def update(g, p, b, h):
        momentum_buffer = lerp(b.momentum_buffer, g, h.fresh)
        direction = lerp(momentum_buffer, g, h.fresh) if nesterov else momentum_buffer
        direction = left_to_xla(orthogonalized, direction, h.ns_coefficients, h.eps, like=direction)
        return -h.lr * _adjustment(g.shape, axis, adjust_lr_fn) * direction, {"momentum_buffer": momentum_buffer}

    def orthogonalized(matrix, coefficients, eps):
        return _orthogonalized(matrix, coefficients, eps, ns_steps, dtype)

    for_matrices = per_parameter(
        "muon",
        MuonState,
        RANGES,
        {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "ns_coefficients": ns_coefficients, "eps": eps},
        buffers=("momentum_buffer",),
        derived=derived,
        update=update,
        decay="decoupled",
    )

    def init(params: optax.Params) -> optax.OptState:
        for path, leaf in jax.tree.leaves_with_path(params):
            if jnp.ndim(leaf) != 2:
                where = jax.tree_util.keystr(path) or "the root"
                raise ValueError(
                    f"muon: parameters must be matrices, got shape {jnp.shape(leaf)} at {where}; give other parameters "
                    "to adamw by optax.partition"
                )
        return for_matrices.init(params)

    return optax.GradientTransformation(init, for_matrices.update)


def _orthogonalized(
    matrix: jax.Array, coefficients: tuple[jax.Array, ...], eps: jax.Array, steps: int, dtype: DTypeLike
) -> jax.Array:
    """The matrix with every singular value near 1, by Newton-Schulz iterations whose results are rounded to `dtype`."""
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).astype(dtype).astype(matrix.dtype)
    norm = jnp.linalg.norm(x).astype(dtype).astype(matrix.dtype)
    x = (x / jnp.maximum(norm, eps)).astype(dtype)

    def iterate(_, x: jax.Array) -> jax.Array:
        gram = _product(x, x.T, matrix.dtype).astype(dtype)
        polynomial = (b * gram.astype(matrix.dtype) + c * _product(gram, gram, matrix.dtype)).astype(dtype)
        return (a * x.astype(matrix.dtype) + _product(polynomial, x, matrix.dtype)).astype(dtype)

    x = lax.fori_loop(0, steps, iterate, x)
    return (x.T if tall else x).astype(matrix.dtype)


def _product(left: jax.Array, right: jax.Array, dtype: DTypeLike) -> jax.Array:
    """The matrix product, summed and returned in `dtype`."""
    return jnp.matmul(left, right, preferred_element_type=dtype)


def _adjustment(shape: tuple[int, ...], axis: int, adjust_lr_fn: str | None) -> float:
    """The factor of the learning rate of a matrix whose outputs lie along `axis`."""
    outputs, inputs = shape[axis], shape[1 - axis % 2]
    if adjust_lr_fn == "match_rms_adamw":
        return 0.2 * max(outputs, inputs) ** 0.5
    return max(1, outputs / max(1, inputs)) ** 0.5
