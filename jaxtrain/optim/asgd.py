"""Averaged stochastic gradient descent."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.checks import check_scalar, is_zero
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.optim._per_parameter import Buffers, Hyperparameter, per_parameter


class ASGDState(NamedTuple):
    """State of `asgd`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate at the last update, before the decay that `lambd` and `alpha` give.
        eta: learning rate of each parameter's next step, a scalar.
        mu: weight of the parameter in the average after its next step, a scalar.
        ax: average of the parameter; evaluate the model with it.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    eta: Any = None
    mu: Any = None
    ax: Any = None


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
        the averaged parameters. Buffers have the shape and dtype of their parameters, except for the scalars `eta` and
        `mu`, which have at least float32.

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
    check_scalar("asgd", "lr", lr, 0.0)
    check_scalar("asgd", "lambd", lambd)
    check_scalar("asgd", "alpha", alpha)
    check_scalar("asgd", "t0", t0)
    check_scalar("asgd", "weight_decay", weight_decay, 0.0)
    decays = not is_zero(weight_decay)

    def buffers(parameter: jax.Array) -> Buffers:
        scalar = jnp.ones((), at_least_float32(parameter.dtype))
        return {"eta": 0 * scalar, "mu": scalar, "ax": jnp.zeros_like(parameter)}

    def scalars(step, lr, lambd, alpha, t0, weight_decay):
        return {
            "first": step == 1,
            "lr": lr,
            "lambd": lambd,
            "next_eta": lr / (1 + lambd * lr * step) ** alpha,
            "next_mu": 1 / jnp.maximum(1, step - t0),
            "weight_decay": weight_decay,
        }

    def update(gradient, parameter, *, first, lr, lambd, next_eta, next_mu, weight_decay, eta, mu, ax):
        if maximize:
            gradient = -gradient
        if decays:
            gradient = gradient + weight_decay * parameter
        eta = jnp.where(first, lr, eta)
        change = -(lambd * eta) * parameter - eta * gradient
        moved = parameter + change
        ax = jnp.where(mu == 1, moved, ax + mu * (moved - ax))
        return change, {"eta": next_eta, "mu": next_mu, "ax": ax}

    hyperparameters = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay}
    return per_parameter(ASGDState, hyperparameters, buffers, scalars, update, "asgd")
