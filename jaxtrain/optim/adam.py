"""Adam and AdamW."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.checks import check_flag
from jaxtrain._ground.float64 import raised
from jaxtrain._ground.ranges import DECAY_RATE, NOT_NEGATIVE
from jaxtrain.optim._hyperparameters import Hyperparameter, Ranges
from jaxtrain.optim._lerp import lerp
from jaxtrain.optim._per_parameter import per_parameter

RANGES: Ranges = {
    "lr": NOT_NEGATIVE,
    "betas": (DECAY_RATE, DECAY_RATE),
    "eps": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
}


class AdamState(NamedTuple):
    """State of `adam` and `adamw`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate of the last update.
        exp_avg: running mean of each parameter's gradients.
        exp_avg_sq: running mean of their squares.
        max_exp_avg_sq: largest `exp_avg_sq` so far; None without `amsgrad`.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    exp_avg: Any = None
    exp_avg_sq: Any = None
    max_exp_avg_sq: Any = None


def adam(
    lr: Hyperparameter = 1e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
) -> optax.GradientTransformation:
    """Adam, with bias corrections computed in float64 even for float32 parameters.

        g ← g + λ·p
        m ← β₁·m + (1 - β₁)·g
        v ← β₂·v + (1 - β₂)·g²
        s ← max(s, v) if amsgrad else v
        p ← p - η/(1 - β₁ᵗ) · m/(√s/√(1 - β₂ᵗ) + ε)

    t is the number of the step, from 1. ε is added outside the root, and `amsgrad` takes its maximum before the bias
    correction.

    Args:
        lr: learning rate η ≥ 0: a number, array or schedule, like every argument except the flags. Default 1e-3.
        betas: decay rates (β₁, β₂) of the two means, in [0, 1). Default (0.9, 0.999).
        eps: ε ≥ 0, added to the denominator. Default 1e-8.
        weight_decay: λ ≥ 0, an L2 penalty added to the gradient. Default 0.
        amsgrad: divide by the root of the largest second moment so far. Default False.
        maximize: use -g instead of g, to ascend instead of descend. Default False.
        decoupled_weight_decay: decay as `adamw` does. Default False.

    Returns:
        An `optax.GradientTransformation` with an `AdamState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        The first step has the length of the learning rate, whatever the gradient:

        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> optimizer = optim.adam(lr=0.01)
        >>> update, state = optimizer.update(jnp.array([3.0, -0.002]), optimizer.init(jnp.zeros(2)))
        >>> update.round(5).tolist()
        [-0.009999999776482582, 0.009999999776482582]

    PyTorch: `torch.optim.Adam`. `optax.adam` computes the bias corrections in float32, and `optax.amsgrad` takes its
    maximum after the correction.

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, https://arxiv.org/abs/1412.6980

    Source: Reddi et al., "On the Convergence of Adam and Beyond", 2018, https://arxiv.org/abs/1904.09237
    """
    given = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
    return _adam("adam", given, amsgrad, maximize, decoupled_weight_decay)


def adamw(
    lr: Hyperparameter = 1e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 1e-2,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay.

        p ← p - η·λ·p - adam(g)

    Here adam(g) is the step of `adam` without weight decay. The decay does not pass through the gradient: it follows
    the schedule of the learning rate, and `maximize` does not change its sign.

    Args:
        lr: learning rate η ≥ 0: a number, array or schedule, like every argument except the flags. Default 1e-3.
        betas: decay rates (β₁, β₂) of the two means, in [0, 1). Default (0.9, 0.999).
        eps: ε ≥ 0, added to the denominator, outside the root. Default 1e-8.
        weight_decay: λ ≥ 0, multiplied by the learning rate. Default 1e-2.
        amsgrad: divide by the root of the largest second moment so far. Default False.
        maximize: use -g instead of g, to ascend instead of descend. Default False.

    Returns:
        An `optax.GradientTransformation` with an `AdamState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        Without a gradient the parameter shrinks by `lr * weight_decay`:

        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> optimizer = optim.adamw(lr=0.1, weight_decay=0.05)
        >>> parameter = jnp.array(2.0)
        >>> update, _ = optimizer.update(jnp.array(0.0), optimizer.init(parameter), parameter)
        >>> round(float(update), 6)
        -0.01

        To leave biases and norms without decay, make two groups; `optax.masked` would pass the gradients of the others
        on as their updates:

        >>> import optax
        >>> from jaxtrain import regularization
        >>> groups = {True: optim.adamw(0.1, weight_decay=0.05), False: optim.adamw(0.1, weight_decay=0.0)}
        >>> optimizer = optax.partition(groups, regularization.decay_mask)
        >>> params = {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.full(2, 2.0)}
        >>> zeros = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
        >>> updates, _ = optimizer.update(zeros, optimizer.init(params), params)
        >>> round(float(updates["kernel"][0, 0]), 6), round(float(abs(updates["bias"][0])), 6)
        (-0.01, 0.0)

    PyTorch: `torch.optim.AdamW`. The default decay of `optax.adamw` is 1e-4, a hundredth of PyTorch's.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, https://arxiv.org/abs/1711.05101
    """
    given = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
    return _adam("adamw", given, amsgrad, maximize, decoupled=True)


def _adam(
    name: str, given: dict[str, Any], amsgrad: bool, maximize: bool, decoupled: bool
) -> optax.GradientTransformation:
    check_flag(name, "amsgrad", amsgrad)
    check_flag(name, "decoupled_weight_decay", decoupled)

    def derived(step, h):
        beta1, beta2 = h.betas
        return {
            "step_size": h.lr / (1 - raised(beta1, step)),
            "root_correction": jnp.sqrt(1 - raised(beta2, step)),
            "fresh1": 1 - beta1,
            "fresh2": 1 - beta2,
        }

    def update(g, p, b, h):
        exp_avg = lerp(b.exp_avg, g, h.fresh1)
        exp_avg_sq = h.betas[1] * b.exp_avg_sq + h.fresh2 * g * g
        new = {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
        second_moment = exp_avg_sq
        if amsgrad:
            second_moment = new["max_exp_avg_sq"] = jnp.maximum(b.max_exp_avg_sq, exp_avg_sq)
        return -h.step_size * (exp_avg / (jnp.sqrt(second_moment) / h.root_correction + h.eps)), new

    return per_parameter(
        name,
        AdamState,
        RANGES,
        given,
        buffers=("exp_avg", "exp_avg_sq", *["max_exp_avg_sq"] * bool(amsgrad)),
        derived=derived,
        update=update,
        maximize=maximize,
        decay="decoupled" if decoupled else "l2",
    )
