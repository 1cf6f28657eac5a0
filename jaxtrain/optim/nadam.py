"""NAdam."""

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
    "momentum_decay": NOT_NEGATIVE,
}


class NAdamState(NamedTuple):
    """State of `nadam`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; once a gradient was None, of each parameter, in the order of the tree's leaves.
        lr: learning rate of the last update.
        mu_product: product of the momenta so far, of the shape of `step`.
        exp_avg: running mean of each parameter's gradients.
        exp_avg_sq: running mean of their squares.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    mu_product: jax.Array
    exp_avg: Any = None
    exp_avg_sq: Any = None

    SCALARS = ("mu_product",)


def nadam(
    lr: Hyperparameter = 2e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    momentum_decay: Hyperparameter = 4e-3,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    r"""NAdam: Adam with Nesterov's look ahead, by a momentum that warms up from half its value.

    With :math:`g \leftarrow \pm g + \lambda p`, or decoupled :math:`p \leftarrow p - \eta \lambda p`:

    .. math::
        \mu_t = \beta_1 \left(1 - \tfrac12 \, 0.96^{t \psi}\right), \quad
        m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
        v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \\
        p \leftarrow p - \eta \left(\frac{1 - \mu_t}{1 - \prod_{i \le t} \mu_i} \, g
            + \frac{\mu_{t+1}}{1 - \prod_{i \le t+1} \mu_i} \, m\right)
            \Big/ \left(\sqrt{v / (1 - \beta_2^t)} + \varepsilon\right)

    :math:`\varepsilon` is added outside the root.

    Args:
        lr: learning rate :math:`\eta \ge 0`; a number, an array or a schedule, like all but the flags.
        betas: decay rates :math:`(\beta_1, \beta_2)` of the two means, in [0, 1).
        eps: :math:`\varepsilon \ge 0`.
        weight_decay: :math:`\lambda \ge 0`.
        momentum_decay: :math:`\psi \ge 0`, how fast the momentum warms up; at 0 it stays at half of :math:`\beta_1`.
        decoupled_weight_decay: decay the parameter itself as `adamw` does, instead of adding to the gradient.
        maximize: ascend instead of descend.

    Returns:
        An `optax.GradientTransformation` with an `NAdamState`. Buffers have the shape and dtype of their parameters,
        but `mu_product` has the program's default float type.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        The first momentum is 0.45, not 0.9:

        >>> from jaxtrain import optim
        >>> import jax.numpy as jnp
        >>> optimizer = optim.nadam()
        >>> _, state = optimizer.update(jnp.array(3.0), optimizer.init(jnp.array(0.0)))
        >>> round(float(state.mu_product), 6)
        0.450073

    PyTorch: `torch.optim.NAdam`. `optax.nadam` has a constant momentum, to which this one comes close only for a
    `momentum_decay` of thousands, and computes the bias corrections in float32.

    Source: Dozat, `Incorporating Nesterov Momentum into Adam
    <https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ>`_, 2016.
    """

    def derived(step, h):
        beta1, beta2 = h.betas
        mu = beta1 * (1 - 0.5 * 0.96 ** (step * h.momentum_decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * h.momentum_decay))
        mu_product = h.mu_product * mu
        return {
            "mu_product": mu_product,
            "gradient_rate": h.lr * (1 - mu) / (1 - mu_product),
            "mean_rate": h.lr * mu_next / (1 - mu_product * mu_next),
            "correction2": 1 - beta2**step,
            "fresh1": 1 - beta1,
            "fresh2": 1 - beta2,
        }

    def update(g, p, b, h):
        exp_avg = lerp(b.exp_avg, g, h.fresh1)
        exp_avg_sq = h.betas[1] * b.exp_avg_sq + h.fresh2 * g * g
        denominator = jnp.sqrt(exp_avg_sq / h.correction2) + h.eps
        change = -h.gradient_rate * (g / denominator) - h.mean_rate * (exp_avg / denominator)
        return change, {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}

    return per_parameter(
        "nadam",
        NAdamState,
        RANGES,
        {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay},
        buffers=zeros("exp_avg", "exp_avg_sq"),
        derived=derived,
        update=update,
        scalars={"mu_product": 1.0},
        maximize=maximize,
        decay="decoupled" if decoupled_weight_decay else "l2",
    )
