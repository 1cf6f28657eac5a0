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
        lr: learning rate at the last update, before its own decay.
        eta: learning rate of each parameter's next step, a scalar.
        mu: weight of the parameter in the average after its next step, a scalar.
        ax: average of the parameter, which is what to evaluate with.
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
    r"""Averaged stochastic gradient descent.

    With :math:`g \leftarrow \pm g + \lambda' p`, :math:`\eta_1 = \eta` and :math:`\mu_1 = 1`:

    .. math::
        p \leftarrow (1 - \lambda \eta_t) p - \eta_t g, \quad
        a \leftarrow a + \mu_t (p - a), \quad
        \eta_{t+1} = \frac{\eta}{(1 + \lambda \eta t)^\alpha}, \quad
        \mu_{t+1} = \frac{1}{\max(1, t - t_0)}

    As long as :math:`\mu_t = 1`, the average :math:`a` is a copy of the parameter.

    Args:
        lr: learning rate :math:`\eta \ge 0`; a number, an array or a schedule, like all but the flag. A schedule acts
            a step late, as the rate of a step is computed after the one before.
        lambd: decay :math:`\lambda`, of the parameter and of the learning rate.
        alpha: power :math:`\alpha` of the learning rate's decay.
        t0: step :math:`t_0` that starts the average, whose first change comes with step :math:`t_0 + 3`.
        weight_decay: :math:`\lambda' \ge 0`, an L2 penalty added to the gradient.
        maximize: ascend instead of descend.

    Returns:
        An `optax.GradientTransformation` with an `ASGDState`, whose `ax` is the averaged parameters. Buffers have the
        shape and dtype of their parameters, but for the scalars `eta` and `mu`, which have at least float32.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        The third position is the first to be averaged, with the second:

        >>> from jaxtrain import optim
        >>> import jax.numpy as jnp
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

    Source: Polyak & Juditsky, `Acceleration of Stochastic Approximation by Averaging
    <https://doi.org/10.1137/0330046>`_, 1992.
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
