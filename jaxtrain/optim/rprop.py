"""Rprop."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.checks import check_length, check_scalar, is_concrete
from jaxtrain.optim._per_parameter import Buffers, Hyperparameter, per_parameter


class RpropState(NamedTuple):
    """State of `rprop`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate at the last update, which only a parameter's first step uses.
        prev: each parameter's last gradient; zero where that had changed its sign.
        step_size: length of its last step.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    prev: Any = None
    step_size: Any = None


def rprop(
    lr: Hyperparameter = 1e-2,
    etas: tuple[Hyperparameter, Hyperparameter] = (0.5, 1.2),
    step_sizes: tuple[Hyperparameter, Hyperparameter] = (1e-6, 50.0),
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    r"""Resilient backpropagation: the sign of the gradient times a step size that learns from sign changes.

    With :math:`g \leftarrow \pm g`, for each element, and :math:`\Delta = \eta` at first:

    .. math::
        \Delta \leftarrow \mathrm{clip}\left(\Delta \cdot \begin{cases} \eta^+ & g g' > 0 \\ \eta^- & g g' < 0 \\ 1 &
            g g' = 0 \end{cases}, \ \Delta_{\min}, \ \Delta_{\max}\right), \quad
        g \leftarrow 0 \text{ where } g g' < 0, \quad
        p \leftarrow p - \mathrm{sign}(g) \, \Delta, \quad
        g' \leftarrow g

    After a change of sign an element rests for a step, and leaves its step size alone in the next one. The limits hold
    from the first step on.

    Args:
        lr: first step size :math:`\eta \ge 0`; a number, an array or a schedule, like all but the flag. Later values
            of a schedule have no effect.
        etas: factors :math:`(\eta^-, \eta^+)` with :math:`0 < \eta^- < 1 < \eta^+`.
        step_sizes: limits :math:`(\Delta_{\min}, \Delta_{\max})`.
        maximize: ascend instead of descend.

    Returns:
        An `optax.GradientTransformation` with an `RpropState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        The sign changes at the third gradient, where the parameter rests:

        >>> from jaxtrain import optim
        >>> import jax.numpy as jnp
        >>> optimizer = optim.rprop(lr=0.1)
        >>> parameter = jnp.ones(())
        >>> state = optimizer.init(parameter)
        >>> for gradient in (5.0, 0.1, -7.0, -7.0):
        ...     update, state = optimizer.update(jnp.array(gradient), state)
        ...     parameter = parameter + update
        ...     print(round(float(parameter), 4))
        0.9
        0.78
        0.78
        0.84

    PyTorch: `torch.optim.Rprop`, which multiplies the two gradients to compare their signs, and sees no agreement where
    the product underflows: for float32 gradients of 1e-23, say. Here the signs are multiplied. A NaN gradient gives NaN
    here; PyTorch takes it for a zero. `optax.rprop` lags one step behind, and does not limit the first step.

    Source: Riedmiller & Braun, `A direct adaptive method for faster backpropagation learning: the RPROP algorithm
    <https://doi.org/10.1109/ICNN.1993.298623>`_, 1993.
    """
    smaller, larger = check_length("rprop", "etas", etas, 2)
    lowest, highest = check_length("rprop", "step_sizes", step_sizes, 2)
    check_scalar("rprop", "lr", lr, 0.0)
    check_scalar("rprop", "etas[0]", smaller, 0.0, 1.0, open_low=True, open_high=True)
    check_scalar("rprop", "etas[1]", larger, 1.0, open_low=True)
    check_scalar("rprop", "step_sizes[0]", lowest)
    check_scalar("rprop", "step_sizes[1]", highest, lowest if is_concrete(lowest) else -jnp.inf)

    def buffers(parameter: jax.Array) -> Buffers:
        return {"prev": jnp.zeros_like(parameter), "step_size": jnp.zeros_like(parameter)}

    def scalars(step, lr, smaller, larger, lowest, highest):
        return {
            "first": step == 1,
            "lr": lr,
            "smaller": smaller,
            "larger": larger,
            "lowest": lowest,
            "highest": highest,
        }

    def update(gradient, parameter, *, first, lr, smaller, larger, lowest, highest, prev, step_size):
        if maximize:
            gradient = -gradient
        agreement = jnp.sign(gradient) * jnp.sign(prev)
        factor = jnp.where(agreement > 0, larger, jnp.where(agreement < 0, smaller, 1))
        step_size = jnp.clip(jnp.where(first, lr, step_size) * factor, lowest, highest)
        gradient = jnp.where(agreement < 0, 0, gradient)
        return -jnp.sign(gradient) * step_size, {"prev": gradient, "step_size": step_size}

    hyperparameters = {"lr": lr, "smaller": smaller, "larger": larger, "lowest": lowest, "highest": highest}
    return per_parameter(RpropState, hyperparameters, buffers, scalars, update)
