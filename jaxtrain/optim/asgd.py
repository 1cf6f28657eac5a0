"""Averaged stochastic gradient descent."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.ranges import ANY, NOT_NEGATIVE
from jaxtrain.optim._hyperparameters import Hyperparameter, Ranges
from jaxtrain.optim._per_parameter import per_parameter, zeros

RANGES: Ranges = {"lr": NOT_NEGATIVE, "lambd": ANY, "alpha": ANY, "t0": ANY, "weight_decay": NOT_NEGATIVE}


class ASGDState(NamedTuple):
    """State of `asgd`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; once a gradient was None, of each parameter, in the order of the tree's leaves.
        lr: learning rate at the last update, before its own decay.
        eta: learning rate of the next step, of the shape of `step`.
        mu: weight of the parameter in the average after the next step, of the shape of `step`.
        ax: average of the parameter, which is what to evaluate with.
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
        shape and dtype of their parameters, but `eta` and `mu` have the program's default float type.

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

    def derived(step, h):
        return {
            "eta_now": jnp.where(step == 1, h.lr, h.eta),
            "mu_now": h.mu,
            "eta": h.lr / (1 + h.lambd * h.lr * step) ** h.alpha,
            "mu": 1 / jnp.maximum(1, step - h.t0),
        }

    def update(g, p, b, h):
        change = -(h.lambd * h.eta_now) * p - h.eta_now * g
        moved = p + change
        return change, {"ax": jnp.where(h.mu_now == 1, moved, b.ax + h.mu_now * (moved - b.ax))}

    return per_parameter(
        "asgd",
        ASGDState,
        RANGES,
        {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay},
        buffers=zeros("ax"),
        derived=derived,
        update=update,
        scalars={"eta": 0.0, "mu": 1.0},
        maximize=maximize,
        decay="l2",
        reads_parameters=True,
    )
