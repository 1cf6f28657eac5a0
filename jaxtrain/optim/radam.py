"""RAdam."""

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


class RAdamState(NamedTuple):
    """State of `radam`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate of the last update.
        exp_avg: running mean of each parameter's gradients.
        exp_avg_sq: running mean of their squares.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    exp_avg: Any = None
    exp_avg_sq: Any = None


def radam(
    lr: Hyperparameter = 1e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """RAdam: Adam that uses its second moment only after enough steps, and then phases it in.

        g ← g + λ·p
        m ← β₁·m + (1 - β₁)·g
        v ← β₂·v + (1 - β₂)·g²
        ρ∞ ← 2/(1 - β₂) - 1
        ρ ← ρ∞ - 2·t·β₂ᵗ/(1 - β₂ᵗ)
        r ← √((ρ - 4)·(ρ - 2)·ρ∞ / ((ρ∞ - 4)·(ρ∞ - 2)·ρ))
        q ← r·√(1 - β₂ᵗ)/(√v + ε) if ρ > 5 else 1
        p ← p - η/(1 - β₁ᵗ) · m·q

    t is the number of the step, from 1. ε is added to √v before the bias correction. With `decoupled_weight_decay` the
    first line is p ← p - η·λ·p.

    Args:
        lr: learning rate η ≥ 0: a number, array or schedule, like every argument except the flags. Default 1e-3.
        betas: decay rates (β₁, β₂) of the two means, in [0, 1). Default (0.9, 0.999).
        eps: ε ≥ 0, added to the denominator. Default 1e-8.
        weight_decay: λ ≥ 0, an L2 penalty added to the gradient unless it is decoupled. Default 0.
        decoupled_weight_decay: decay the parameter itself, as `adamw` does. Default False.
        maximize: use -g instead of g, to ascend instead of descend. Default False.

    Returns:
        An `optax.GradientTransformation` with an `RAdamState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        After five steps of gradient descent, the sixth is the first adaptive one:

        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> optimizer = optim.radam(lr=0.01)
        >>> state = optimizer.init(jnp.zeros(()))
        >>> for _ in range(6):
        ...     update, state = optimizer.update(jnp.array(3.0), state)
        ...     print(round(float(update), 6))
        -0.03
        -0.03
        -0.03
        -0.03
        -0.03
        -0.000258

    PyTorch: `torch.optim.RAdam`. `optax.radam` adds ε after the bias correction, starts to rectify at ρ ≥ 5, and
    computes the rectification in float32, 0.6 % off at its first step.

    Source: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2020,
    https://arxiv.org/abs/1908.03265
    """
    check_flag("radam", "decoupled_weight_decay", decoupled_weight_decay)

    def derived(step, h):
        beta1, beta2 = h.betas
        correction2 = 1 - raised(beta2, step)
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * step * raised(beta2, step) / correction2
        rectified = length > 5
        safe = jnp.where(rectified, length, longest)
        rectification = jnp.sqrt((safe - 4) * (safe - 2) * longest / ((longest - 4) * (longest - 2) * safe))
        return {
            "step_size": h.lr / (1 - raised(beta1, step)),
            "rectified": rectified,
            "adaption": rectification * jnp.sqrt(correction2),
            "fresh1": 1 - beta1,
            "fresh2": 1 - beta2,
        }

    def update(g, p, b, h):
        exp_avg = lerp(b.exp_avg, g, h.fresh1)
        exp_avg_sq = h.betas[1] * b.exp_avg_sq + h.fresh2 * g * g
        change = -h.step_size * exp_avg * jnp.where(h.rectified, h.adaption / (jnp.sqrt(exp_avg_sq) + h.eps), 1)
        return change, {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}

    return per_parameter(
        "radam",
        RAdamState,
        RANGES,
        {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay},
        buffers=("exp_avg", "exp_avg_sq"),
        derived=derived,
        update=update,
        maximize=maximize,
        decay="decoupled" if decoupled_weight_decay else "l2",
    )
