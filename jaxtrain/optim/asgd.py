"""Averaged stochastic gradient descent."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.float64 import raised
from jaxtrain._ground.ranges import ANY, NOT_NEGATIVE
from jaxtrain.optim._hyperparameters import Hyperparameter, Ranges
from jaxtrain.optim._per_parameter import per_parameter

RANGES: Ranges = {"lr": NOT_NEGATIVE, "lambd": ANY, "alpha": ANY, "t0": ANY, "weight_decay": NOT_NEGATIVE}


class ASGDState(NamedTuple):
    """State of `asgd`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate at the last update, before the decay that `lambd` and `alpha` give.
        eta: learning rate of the next step, of the shape of `step`.
        mu: weight of the parameter in the average after the next step, of the shape of `step`.
        ax: average of the parameter; evaluate the model with it.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    eta: jax.Array
    mu: jax.Array
    ax: Any = None

    SCALARS = ("eta", "mu")


def asgd(
    lr: Hyperparameter = 1e-2,
    lambd: Hyperparameter = 1e-4,
    alpha: Hyperparameter = 0.75,
    t0: Hyperparameter = 1e6,
    weight_decay: Hyperparameter = 0.0,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Averaged stochastic gradient descent.

        g ← g + λ′·p
        p ← (1 - λ·ηₜ)·p - ηₜ·g
        a ← a + μₜ·(p - a)
        ηₜ₊₁ ← η/(1 + λ·η·t)^α
        μₜ₊₁ ← 1/max(1, t - t₀)

    Step t = 1 has η₁ = η and μ₁ = 1. While μₜ is 1, the average a is a copy of the parameter.

    Args:
        lr: learning rate η ≥ 0: a number, array or schedule, like every argument except the flag. A schedule takes
            effect one step late, because each step computes the rate of the next one. Default 1e-2.
        lambd: decay λ of the parameter and of the learning rate, any number. Default 1e-4.
        alpha: power α of the decay of the learning rate, any number. Default 0.75.
        t0: t₀, any number. The average first differs from the parameter at step t₀ + 3. Default 1e6.
        weight_decay: λ′ ≥ 0, an L2 penalty added to the gradient. Default 0.
        maximize: use -g instead of g, to ascend instead of descend. Default False.

    Returns:
        An `optax.GradientTransformation` with an `ASGDState`, which needs the parameters in `update`. Its `ax` holds
        the averaged parameters. Buffers have the shape and dtype of their parameters, except for `eta` and `mu`,
        which have the program's default float type.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        The third position is the first to be averaged, with the second:

        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> optimizer = optim.asgd(lr=0.1, lambd=0.0, t0=0)
        >>> parameter = jnp.zeros(())
        >>> state = optimizer.init(parameter)
        >>> for _ in range(4):
        ...     update, state = optimizer.update(jnp.array(-1.0), state, parameter)
        ...     parameter = parameter + update
        ...     print(round(float(parameter), 4), round(float(state.ax), 4))
        0.1 0.1
        0.2 0.2
        0.3 0.25
        0.4 0.3

    PyTorch: `torch.optim.ASGD`. Optax has no counterpart.

    Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992,
    https://doi.org/10.1137/0330046
    """

    def derived(step, h):
        return {
            "eta_now": jnp.where(step == 1, h.lr, h.eta),
            "mu_now": h.mu,
            "eta": h.lr / raised(1 + h.lambd * h.lr * step, h.alpha),
            "mu": 1 / jnp.maximum(1, step - h.t0),
        }

    def update(g, p, b, h):
        p = p.astype(g.dtype)
        change = -(h.lambd * h.eta_now) * p - h.eta_now * g
        moved = p + change
        return change, {"ax": jnp.where(h.mu_now == 1, moved, b.ax + h.mu_now * (moved - b.ax))}

    return per_parameter(
        "asgd",
        ASGDState,
        RANGES,
        {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay},
        buffers=("ax",),
        derived=derived,
        update=update,
        scalars={"eta": 0.0, "mu": 1.0},
        maximize=maximize,
        decay="l2",
        reads_parameters=True,
    )
