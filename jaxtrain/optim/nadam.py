"""NAdam."""

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
    "momentum_decay": NOT_NEGATIVE,
}


class NAdamState(NamedTuple):
    """State of `nadam`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate of the last update.
        mu_product: product of the momenta so far, of the shape of `step`.
        exp_avg: running mean of each parameter's gradients.
        exp_avg_sq: running mean of their squares.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    mu_product: jax.Array
    exp_avg: Any = None
    exp_avg_sq: Any = None

    SCALARS = ("mu_product",)


def nadam(
    lr: Hyperparameter = 2e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    momentum_decay: Hyperparameter = 4e-3,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """NAdam: Adam with Nesterov's look-ahead, and a momentum that warms up from half its value.

        g ← g + λ·p
        μ ← β₁·(1 - 0.96^(t·ψ)/2)
        μ′ ← β₁·(1 - 0.96^((t + 1)·ψ)/2)
        M ← M·μ
        m ← β₁·m + (1 - β₁)·g
        v ← β₂·v + (1 - β₂)·g²
        p ← p - η·((1 - μ)/(1 - M)·g + μ′/(1 - M·μ′)·m)/(√(v/(1 - β₂ᵗ)) + ε)

    t is the number of the step, from 1, and M starts at 1. ε is added outside the root. With `decoupled_weight_decay`
    the first line is p ← p - η·λ·p.

    Args:
        lr: learning rate η ≥ 0: a number, array or schedule, like every argument except the flags. Default 2e-3.
        betas: decay rates (β₁, β₂) of the two means, in [0, 1). Default (0.9, 0.999).
        eps: ε ≥ 0, added to the denominator. Default 1e-8.
        weight_decay: λ ≥ 0, an L2 penalty added to the gradient unless it is decoupled. Default 0.
        momentum_decay: ψ ≥ 0, how fast the momentum warms up; with 0 it stays at β₁/2. Default 4e-3.
        decoupled_weight_decay: decay the parameter itself, as `adamw` does. Default False.
        maximize: use -g instead of g, to ascend instead of descend. Default False.

    Returns:
        An `optax.GradientTransformation` with an `NAdamState`. Buffers have the shape and dtype of their parameters,
        but `mu_product` has the program's default float type.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        The first momentum is 0.45, not 0.9:

        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> optimizer = optim.nadam()
        >>> _, state = optimizer.update(jnp.array(3.0), optimizer.init(jnp.array(0.0)))
        >>> round(float(state.mu_product), 6)
        0.450073

    PyTorch: `torch.optim.NAdam`. `optax.nadam` has a constant momentum, which this one approaches only if
    `momentum_decay` is in the thousands, and computes the bias corrections in float32.

    Source: Dozat, "Incorporating Nesterov Momentum into Adam", 2016,
    https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ
    """
    check_flag("nadam", "decoupled_weight_decay", decoupled_weight_decay)

    def derived(step, h):
        beta1, beta2 = h.betas
        mu = beta1 * (1 - 0.5 * raised(0.96, step * h.momentum_decay))
        mu_next = beta1 * (1 - 0.5 * raised(0.96, (step + 1) * h.momentum_decay))
        mu_product = h.mu_product * mu
        return {
            "mu_product": mu_product,
            "gradient_rate": h.lr * (1 - mu) / (1 - mu_product),
            "mean_rate": h.lr * mu_next / (1 - mu_product * mu_next),
            "correction2": 1 - raised(beta2, step),
            "fresh1": 1 - beta1,
            "fresh2": 1 - beta2,
        }

    def update(g, p, b, h):
        exp_avg = lerp(b.exp_avg, g, h.fresh1)
        exp_avg_sq = h.betas[1] * b.exp_avg_sq + h.fresh2 * g * g
        denominator = jnp.sqrt(exp_avg_sq / h.correction2) + h.eps
        change = -h.gradient_rate * (g / denominator) - h.mean_rate * (exp_avg / denominator)
        return change, {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}

    return per_parameter(
        "nadam",
        NAdamState,
        RANGES,
        {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay},
        buffers=("exp_avg", "exp_avg_sq"),
        derived=derived,
        update=update,
        scalars={"mu_product": 1.0},
        maximize=maximize,
        decay="decoupled" if decoupled_weight_decay else "l2",
    )
