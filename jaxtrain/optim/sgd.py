"""Stochastic gradient descent."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.checks import check_flag, is_concrete, is_zero
from jaxtrain._ground.ranges import ANY, NOT_NEGATIVE
from jaxtrain.optim._hyperparameters import Hyperparameter, Ranges
from jaxtrain.optim._per_parameter import per_parameter

RANGES: Ranges = {"lr": NOT_NEGATIVE, "momentum": NOT_NEGATIVE, "dampening": ANY, "weight_decay": NOT_NEGATIVE}


class SGDState(NamedTuple):
    """State of `sgd`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate of the last update.
        momentum_buffer: running direction b of each parameter; None without momentum.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    momentum_buffer: Any = None


def sgd(
    lr: Hyperparameter = 1e-3,
    momentum: Hyperparameter = 0.0,
    dampening: Hyperparameter = 0.0,
    weight_decay: Hyperparameter = 0.0,
    nesterov: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Stochastic gradient descent, with momentum as in PyTorch.

        g ← g + λ·p
        b ← g in the first step, μ·b + (1 - τ)·g later
        p ← p - η·(g + μ·b if nesterov else b)

    The first direction b is the gradient itself, without dampening. The learning rate is applied after the momentum.

    Args:
        lr: learning rate η ≥ 0: a number, array or schedule, like every argument except the flags. Default 1e-3.
        momentum: μ ≥ 0. A plain 0 keeps no buffer. With 0, `dampening` has no effect. Default 0.
        dampening: τ, any number, as in PyTorch. Default 0.
        weight_decay: λ ≥ 0, an L2 penalty added to the gradient. Default 0.
        nesterov: look ahead along the momentum; needs a momentum above 0 and a dampening of 0. Default False.
        maximize: use -g instead of g, to ascend instead of descend. Default False.

    Returns:
        An `optax.GradientTransformation` with an `SGDState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range, or if `nesterov` is given without momentum or with dampening.

    Example:
        Dampening does not affect the first step:

        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> optimizer = optim.sgd(lr=1.0, momentum=0.9, dampening=0.5)
        >>> state = optimizer.init(jnp.zeros(()))
        >>> for _ in range(3):
        ...     update, state = optimizer.update(jnp.ones(()), state)
        ...     print(round(float(update), 4))
        -1.0
        -1.4
        -1.76

    PyTorch: `torch.optim.SGD`. `optax.sgd` has no dampening and no weight decay.

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013,
    https://proceedings.mlr.press/v28/sutskever13.html
    """
    check_flag("sgd", "nesterov", nesterov)
    has_momentum = not is_zero(momentum)

    def derived(step, h):
        if not has_momentum:
            return {}
        undamped = (step == 1) | (h.momentum == 0)
        return {"fresh": jnp.where(undamped, 1.0, 1.0 - h.dampening)}

    def update(g, p, b, h):
        if not has_momentum:
            return -h.lr * g, {}
        momentum_buffer = h.momentum * b.momentum_buffer + h.fresh * g
        direction = g + h.momentum * momentum_buffer if nesterov else momentum_buffer
        return -h.lr * direction, {"momentum_buffer": momentum_buffer}

    optimizer = per_parameter(
        "sgd",
        SGDState,
        RANGES,
        {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay},
        buffers=(*["momentum_buffer"] * has_momentum,),
        derived=derived,
        update=update,
        maximize=maximize,
        decay="l2",
    )
    if nesterov and (is_zero(momentum) or (is_concrete(dampening) and dampening != 0)):
        raise ValueError(
            f"sgd: nesterov needs a momentum above 0 and a dampening of 0, got momentum={momentum!r} and "
            f"dampening={dampening!r}"
        )
    return optimizer
