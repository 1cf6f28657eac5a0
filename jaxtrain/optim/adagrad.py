"""Adagrad."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxtrain._ground.checks import check_range
from jaxtrain._ground.ranges import NOT_NEGATIVE
from jaxtrain.optim._hyperparameters import Hyperparameter, Ranges
from jaxtrain.optim._per_parameter import per_parameter

RANGES: Ranges = {"lr": NOT_NEGATIVE, "lr_decay": NOT_NEGATIVE, "weight_decay": NOT_NEGATIVE, "eps": NOT_NEGATIVE}


class AdagradState(NamedTuple):
    """State of `adagrad`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate of the last update, before `lr_decay`.
        sum: sum of each parameter's squared gradients.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    sum: Any = None


def adagrad(
    lr: Hyperparameter = 1e-2,
    lr_decay: Hyperparameter = 0.0,
    weight_decay: Hyperparameter = 0.0,
    initial_accumulator_value: ArrayLike = 0.0,
    eps: Hyperparameter = 1e-10,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adagrad: the gradient divided by the root of the sum of all squares so far.

        g ← g + λ·p
        s ← s + g²
        p ← p - η/(1 + (t - 1)·τ) · g/(√s + ε)

    ε is added outside the root. t counts the steps of each parameter from 1, so the first step has the full learning
    rate.

    Args:
        lr: learning rate η ≥ 0: a number, array or schedule, like every argument except `initial_accumulator_value` and
            the flag. Default 1e-2.
        lr_decay: τ ≥ 0, how fast the learning rate decays. Default 0.
        weight_decay: λ ≥ 0, an L2 penalty added to the gradient. Default 0.
        initial_accumulator_value: first value of s, a number or array, at least 0. Default 0.
        eps: ε ≥ 0, added to the denominator. Default 1e-10.
        maximize: use -g instead of g, to ascend instead of descend. Default False.

    Returns:
        An `optax.GradientTransformation` with an `AdagradState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        With a constant gradient, step t is smaller than the first by a factor of √t:

        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> optimizer = optim.adagrad(lr=1.0)
        >>> state = optimizer.init(jnp.zeros(()))
        >>> for _ in range(3):
        ...     update, state = optimizer.update(jnp.array(1e-6), state)
        ...     print(round(float(update), 4))
        -0.9999
        -0.7071
        -0.5773

    PyTorch: `torch.optim.Adagrad`. `optax.adagrad` starts at 0.1, adds an ε of 1e-7 inside the root (a first gradient
    of 1e-6 then moves the parameter a tenth as far), and has no decay of either kind.

    Source: Duchi et al., "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", 2011,
    https://jmlr.org/papers/v12/duchi11a.html
    """
    if callable(initial_accumulator_value):
        raise TypeError(
            "adagrad: initial_accumulator_value must be a number or an array, got a function; it is used once, in init"
        )
    check_range("adagrad", "initial_accumulator_value", initial_accumulator_value, 0.0)

    def derived(step, h):
        return {"step_size": h.lr / (1 + (step - 1) * h.lr_decay)}

    def update(g, p, b, h):
        total = b.sum + g * g
        return -h.step_size * (g / (jnp.sqrt(total) + h.eps)), {"sum": total}

    return per_parameter(
        "adagrad",
        AdagradState,
        RANGES,
        {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps},
        buffers=lambda parameter: {"sum": jnp.full_like(parameter, initial_accumulator_value)},
        derived=derived,
        update=update,
        maximize=maximize,
        decay="l2",
    )
