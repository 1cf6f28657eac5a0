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
        step: number of steps so far; once a gradient was None, of each parameter, in the order of the tree's leaves.
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
    r"""Adagrad: the gradient over the root of the sum of all squares so far.

    With :math:`g \leftarrow \pm g + \lambda p`:

    .. math::
        s \leftarrow s + g^2, \quad
        p \leftarrow p - \frac{\eta}{1 + (t - 1) \, \tau} \cdot \frac{g}{\sqrt s + \varepsilon}

    :math:`\varepsilon` is added outside the root, and the first step has the full learning rate.

    Args:
        lr: learning rate :math:`\eta \ge 0`; a number, an array or a schedule, like all but the initial value and the
            flag.
        lr_decay: :math:`\tau \ge 0`; :math:`t` counts the steps of each parameter.
        weight_decay: :math:`\lambda \ge 0`, an L2 penalty added to the gradient.
        initial_accumulator_value: first value of :math:`s`, at least 0; a number or an array.
        eps: :math:`\varepsilon \ge 0`.
        maximize: ascend instead of descend.

    Returns:
        An `optax.GradientTransformation` with an `AdagradState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        Under a constant gradient the steps shrink as the roots of their number grow:

        >>> from jaxtrain import optim
        >>> import jax.numpy as jnp
        >>> optimizer = optim.adagrad(lr=1.0)
        >>> state = optimizer.init(jnp.zeros(()))
        >>> for _ in range(3):
        ...     update, state = optimizer.update(jnp.array(1e-6), state)
        ...     print(round(float(update), 4))
        -0.9999
        -0.7071
        -0.5773

    PyTorch: `torch.optim.Adagrad`. `optax.adagrad` starts at 0.1, adds an :math:`\varepsilon` of 1e-7 inside the root
    (a first gradient of 1e-6 then moves the parameter a tenth as far) and has no decay of either kind.

    Source: Duchi et al., `Adaptive Subgradient Methods for Online Learning and Stochastic Optimization
    <https://jmlr.org/papers/v12/duchi11a.html>`_, 2011.
    """
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
