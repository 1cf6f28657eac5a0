"""Adam and AdamW."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.ranges import DECAY_RATE, NOT_NEGATIVE
from jaxtrain.optim._hyperparameters import Hyperparameter, Ranges
from jaxtrain.optim._lerp import lerp
from jaxtrain.optim._per_parameter import per_parameter, zeros

RANGES: Ranges = {
    "lr": NOT_NEGATIVE,
    "betas": (DECAY_RATE, DECAY_RATE),
    "eps": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
}


class AdamState(NamedTuple):
    """State of `adam` and `adamw`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; once a gradient was None, of each parameter, in the order of the tree's leaves.
        lr: learning rate of the last update.
        exp_avg: running mean of each parameter's gradients.
        exp_avg_sq: running mean of their squares.
        max_exp_avg_sq: largest `exp_avg_sq` so far; None without `amsgrad`.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    exp_avg: Any = None
    exp_avg_sq: Any = None
    max_exp_avg_sq: Any = None


def adam(
    lr: Hyperparameter = 1e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
) -> optax.GradientTransformation:
    r"""Adam, with bias corrections that float32 programs get in float64.

    With :math:`g \leftarrow \pm g + \lambda p`:

    .. math::
        m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
        v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
        p \leftarrow p - \frac{\eta}{1 - \beta_1^t} \cdot
            \frac{m}{\sqrt{\hat v} / \sqrt{1 - \beta_2^t} + \varepsilon}

    where :math:`\hat v` is :math:`v`, or with `amsgrad` the largest :math:`v` so far: the maximum is taken before the
    bias correction. :math:`\varepsilon` is added outside the root.

    Args:
        lr: learning rate :math:`\eta \ge 0`; a number, an array or a schedule, like all but the flags.
        betas: decay rates :math:`(\beta_1, \beta_2)` of the two means, in [0, 1).
        eps: :math:`\varepsilon \ge 0`.
        weight_decay: :math:`\lambda \ge 0`, an L2 penalty added to the gradient.
        amsgrad: divide by the largest second moment so far.
        maximize: ascend instead of descend.
        decoupled_weight_decay: decay as `adamw` does.

    Returns:
        An `optax.GradientTransformation` with an `AdamState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        The first step has the length of the learning rate, whatever the gradient:

        >>> from jaxtrain import optim
        >>> import jax.numpy as jnp
        >>> optimizer = optim.adam(lr=0.01)
        >>> update, state = optimizer.update(jnp.array([3.0, -0.002]), optimizer.init(jnp.zeros(2)))
        >>> update.round(5).tolist()
        [-0.009999999776482582, 0.009999999776482582]

    PyTorch: `torch.optim.Adam`. `optax.adam` computes the bias corrections in float32, and `optax.amsgrad` takes its
    maximum after the correction.

    Source: Kingma & Ba, `Adam: A Method for Stochastic Optimization <https://arxiv.org/abs/1412.6980>`_, 2015;
    Reddi et al., `On the Convergence of Adam and Beyond <https://arxiv.org/abs/1904.09237>`_, 2018.
    """
    given = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
    return _adam("adam", given, amsgrad, maximize, decoupled_weight_decay)


def adamw(
    lr: Hyperparameter = 1e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 1e-2,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    r"""Adam with decoupled weight decay.

    The parameter decays beside the Adam step, not through the gradient: :math:`p \leftarrow p - \eta \lambda p -
    \text{adam}(g)`, where the decay follows the learning rate's schedule and `maximize` leaves it alone.

    Args:
        lr: learning rate :math:`\eta \ge 0`; a number, an array or a schedule, like all but the flags.
        betas: decay rates of the two means, in [0, 1).
        eps: added outside the root, at least 0.
        weight_decay: :math:`\lambda \ge 0`, multiplied by the learning rate.
        amsgrad: divide by the largest second moment so far.
        maximize: ascend instead of descend.

    Returns:
        An `optax.GradientTransformation` with an `AdamState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        Without a gradient the parameter shrinks by `lr * weight_decay`:

        >>> from jaxtrain import optim
        >>> import jax.numpy as jnp
        >>> optimizer = optim.adamw(lr=0.1, weight_decay=0.05)
        >>> parameter = jnp.array(2.0)
        >>> update, _ = optimizer.update(jnp.array(0.0), optimizer.init(parameter), parameter)
        >>> round(float(update), 6)
        -0.01

    PyTorch: `torch.optim.AdamW`. The default decay of `optax.adamw` is 1e-4, a hundredth of PyTorch's.

    Source: Loshchilov & Hutter, `Decoupled Weight Decay Regularization <https://arxiv.org/abs/1711.05101>`_, 2019.
    """
    given = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
    return _adam("adamw", given, amsgrad, maximize, decoupled=True)


def _adam(
    name: str, given: dict[str, Any], amsgrad: bool, maximize: bool, decoupled: bool
) -> optax.GradientTransformation:
    def derived(step, h):
        beta1, beta2 = h.betas
        return {
            "step_size": h.lr / (1 - beta1**step),
            "root_correction": jnp.sqrt(1 - beta2**step),
            "fresh1": 1 - beta1,
            "fresh2": 1 - beta2,
        }

    def update(g, p, b, h):
        exp_avg = lerp(b.exp_avg, g, h.fresh1)
        exp_avg_sq = h.betas[1] * b.exp_avg_sq + h.fresh2 * g * g
        new = {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
        second_moment = exp_avg_sq
        if amsgrad:
            second_moment = new["max_exp_avg_sq"] = jnp.maximum(b.max_exp_avg_sq, exp_avg_sq)
        return -h.step_size * (exp_avg / (jnp.sqrt(second_moment) / h.root_correction + h.eps)), new

    return per_parameter(
        name,
        AdamState,
        RANGES,
        given,
        buffers=zeros("exp_avg", "exp_avg_sq", *["max_exp_avg_sq"] * amsgrad),
        derived=derived,
        update=update,
        maximize=maximize,
        decay="decoupled" if decoupled else "l2",
    )
