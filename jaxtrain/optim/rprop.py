"""Rprop."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.checks import check_length, is_concrete
from jaxtrain._ground.ranges import ANY, NOT_NEGATIVE, Interval
from jaxtrain.optim._hyperparameters import Hyperparameter, Ranges
from jaxtrain.optim._per_parameter import per_parameter, zeros

RANGES: Ranges = {
    "lr": NOT_NEGATIVE,
    "etas": (Interval(0.0, 1.0, open_low=True, open_high=True), Interval(1.0, open_low=True)),
    "step_sizes": (ANY, ANY),
}


class RpropState(NamedTuple):
    """State of `rprop`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; once a gradient was None, of each parameter, in the order of the tree's leaves.
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

    def derived(step, h):
        return {"first": step == 1}

    def update(g, p, b, h):
        (smaller, larger), (lowest, highest) = h.etas, h.step_sizes
        agreement = jnp.sign(g) * jnp.sign(b.prev)
        factor = jnp.where(agreement > 0, larger, jnp.where(agreement < 0, smaller, 1))
        step_size = jnp.clip(jnp.where(h.first, h.lr, b.step_size) * factor, lowest, highest)
        g = jnp.where(agreement < 0, 0, g)
        return -jnp.sign(g) * step_size, {"prev": g, "step_size": step_size}

    lowest, _ = check_length("rprop", "step_sizes", step_sizes, 2)
    ranges = {**RANGES, "step_sizes": (ANY, Interval(lowest) if is_concrete(lowest) else ANY)}
    return per_parameter(
        "rprop",
        RpropState,
        ranges,
        {"lr": lr, "etas": etas, "step_sizes": step_sizes},
        buffers=zeros("prev", "step_size"),
        derived=derived,
        update=update,
        maximize=maximize,
    )
