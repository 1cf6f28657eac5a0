"""Adamax."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

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


class AdamaxState(NamedTuple):
    """State of `adamax`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate of the last update.
        exp_avg: running mean of each parameter's gradients.
        exp_inf: decaying maximum of their magnitudes.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    exp_avg: Any = None
    exp_inf: Any = None


def adamax(
    lr: Hyperparameter = 2e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adamax: Adam with a decaying maximum in place of the root mean square.

        g ← g + λ·p
        m ← β₁·m + (1 - β₁)·g
        u ← max(β₂·u, |g| + ε)
        p ← p - η/(1 - β₁ᵗ) · m/u

    t is the number of the step, from 1. ε is added to the magnitude, inside the maximum.

    Args:
        lr: learning rate η ≥ 0: a number, array or schedule, like every argument except the flag. Default 2e-3.
        betas: decay rates (β₁, β₂) of the mean and of the maximum, in [0, 1). Default (0.9, 0.999).
        eps: ε ≥ 0, added to the magnitude of the gradient. Default 1e-8.
        weight_decay: λ ≥ 0, an L2 penalty added to the gradient. Default 0.
        maximize: use -g instead of g, to ascend instead of descend. Default False.

    Returns:
        An `optax.GradientTransformation` with an `AdamaxState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        After a large gradient, the steps of small ones are smaller, by their size relative to the decaying maximum:

        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> optimizer = optim.adamax(lr=0.1, betas=(0.0, 0.5))
        >>> state = optimizer.init(jnp.zeros(()))
        >>> for gradient in (8.0, 1.0, 1.0):
        ...     update, state = optimizer.update(jnp.array(gradient), state)
        ...     print(round(float(update), 4))
        -0.1
        -0.025
        -0.05

    PyTorch: `torch.optim.Adamax`. `optax.adamax` has the same formula, without weight decay.

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (section 7), 2015,
    https://arxiv.org/abs/1412.6980
    """

    def derived(step, h):
        beta1, _ = h.betas
        return {"step_size": h.lr / (1 - raised(beta1, step)), "fresh1": 1 - beta1}

    def update(g, p, b, h):
        exp_avg = lerp(b.exp_avg, g, h.fresh1)
        exp_inf = jnp.maximum(h.betas[1] * b.exp_inf, jnp.abs(g) + h.eps)
        return -h.step_size * (exp_avg / exp_inf), {"exp_avg": exp_avg, "exp_inf": exp_inf}

    return per_parameter(
        "adamax",
        AdamaxState,
        RANGES,
        {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay},
        buffers=("exp_avg", "exp_inf"),
        derived=derived,
        update=update,
        maximize=maximize,
        decay="l2",
    )
