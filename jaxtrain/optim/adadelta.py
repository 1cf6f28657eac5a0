"""Adadelta."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.ranges import NOT_NEGATIVE, Interval
from jaxtrain.optim._hyperparameters import Hyperparameter, Ranges
from jaxtrain.optim._per_parameter import per_parameter

RANGES: Ranges = {"lr": NOT_NEGATIVE, "rho": Interval(0.0, 1.0), "eps": NOT_NEGATIVE, "weight_decay": NOT_NEGATIVE}


class AdadeltaState(NamedTuple):
    """State of `adadelta`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate of the last update.
        square_avg: running mean of each parameter's squared gradients.
        acc_delta: running mean of its squared steps, before the learning rate.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    square_avg: Any = None
    acc_delta: Any = None


def adadelta(
    lr: Hyperparameter = 1.0,
    rho: Hyperparameter = 0.9,
    eps: Hyperparameter = 1e-6,
    weight_decay: Hyperparameter = 0.0,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adadelta: steps in the unit of the parameter, scaled by the ratio of two root mean squares.

        g ← g + λ·p
        v ← ρ·v + (1 - ρ)·g²
        Δ ← √(u + ε)/√(v + ε) · g
        u ← ρ·u + (1 - ρ)·Δ²
        p ← p - η·Δ

    ε is added inside both roots. In the numerator it sets the steps in motion, because u starts at 0.

    Args:
        lr: factor η ≥ 0 of the steps: a number, array or schedule, like every argument except the flag. Default 1.
        rho: decay rate ρ of both means, in [0, 1]. Default 0.9.
        eps: ε ≥ 0, added inside both roots. Default 1e-6.
        weight_decay: λ ≥ 0, an L2 penalty added to the gradient. Default 0.
        maximize: use -g instead of g, to ascend instead of descend. Default False.

    Returns:
        An `optax.GradientTransformation` with an `AdadeltaState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        The first step is `sqrt(eps / (1 - rho))`, whatever the gradient:

        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> optimizer = optim.adadelta()
        >>> update, _ = optimizer.update(jnp.array(100.0), optimizer.init(jnp.array(0.0)))
        >>> round(float(update), 6)
        -0.003162

    PyTorch: `torch.optim.Adadelta`. `optax.adadelta` has the same formula, but no default learning rate.

    Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, https://arxiv.org/abs/1212.5701
    """

    def derived(step, h):
        return {"fresh": 1 - h.rho}

    def update(g, p, b, h):
        square_avg = h.rho * b.square_avg + h.fresh * g * g
        delta = jnp.sqrt(b.acc_delta + h.eps) / jnp.sqrt(square_avg + h.eps) * g
        acc_delta = h.rho * b.acc_delta + h.fresh * delta * delta
        return -h.lr * delta, {"square_avg": square_avg, "acc_delta": acc_delta}

    return per_parameter(
        "adadelta",
        AdadeltaState,
        RANGES,
        {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay},
        buffers=("square_avg", "acc_delta"),
        derived=derived,
        update=update,
        maximize=maximize,
        decay="l2",
    )
