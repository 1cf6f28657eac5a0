"""NAdam."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.checks import check_length, check_scalar, is_zero
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.optim._lerp import lerp
from jaxtrain.optim._per_parameter import Buffers, Hyperparameter, per_parameter


class NAdamState(NamedTuple):
    """State of `nadam`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate of the last update.
        mu_product: product of each parameter's momenta so far, a scalar.
        exp_avg: running mean of its gradients.
        exp_avg_sq: running mean of their squares.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    mu_product: Any = None
    exp_avg: Any = None
    exp_avg_sq: Any = None


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
        but for the scalar `mu_product`, which has at least float32.

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
    beta1, beta2 = check_length("nadam", "betas", betas, 2)
    check_scalar("nadam", "lr", lr, 0.0)
    check_scalar("nadam", "betas[0]", beta1, 0.0, 1.0, open_high=True)
    check_scalar("nadam", "betas[1]", beta2, 0.0, 1.0, open_high=True)
    check_scalar("nadam", "eps", eps, 0.0)
    check_scalar("nadam", "weight_decay", weight_decay, 0.0)
    check_scalar("nadam", "momentum_decay", momentum_decay, 0.0)
    decays = not is_zero(weight_decay)

    def buffers(parameter: jax.Array) -> Buffers:
        return {
            "mu_product": jnp.ones((), at_least_float32(parameter.dtype)),
            "exp_avg": jnp.zeros_like(parameter),
            "exp_avg_sq": jnp.zeros_like(parameter),
        }

    def scalars(step, lr, beta1, beta2, eps, weight_decay, momentum_decay):
        return {
            "lr": lr,
            "mu": beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay)),
            "mu_next": beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * momentum_decay)),
            "correction2": 1 - beta2**step,
            "fresh1": 1 - beta1,
            "beta2": beta2,
            "fresh2": 1 - beta2,
            "eps": eps,
            "decay": lr * weight_decay if decoupled_weight_decay else weight_decay,
        }

    def update(
        gradient, parameter, *, lr, mu, mu_next, correction2, fresh1, beta2, fresh2, eps, decay,
        mu_product, exp_avg, exp_avg_sq,
    ):  # fmt: skip
        if maximize:
            gradient = -gradient
        if decays and not decoupled_weight_decay:
            gradient = gradient + decay * parameter
        mu_product = mu_product * mu
        exp_avg = lerp(exp_avg, gradient, fresh1)
        exp_avg_sq = beta2 * exp_avg_sq + fresh2 * gradient * gradient
        denominator = jnp.sqrt(exp_avg_sq / correction2) + eps
        change = -(lr * (1 - mu) / (1 - mu_product)) * (gradient / denominator)
        change = change - (lr * mu_next / (1 - mu_product * mu_next)) * (exp_avg / denominator)
        new = {"mu_product": mu_product, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
        return change - decay * parameter if decays and decoupled_weight_decay else change, new

    hyperparameters = {
        "lr": lr,
        "beta1": beta1,
        "beta2": beta2,
        "eps": eps,
        "weight_decay": weight_decay,
        "momentum_decay": momentum_decay,
    }
    needs_parameters = "the weight_decay of nadam" if decays else ""
    return per_parameter(NAdamState, hyperparameters, buffers, scalars, update, needs_parameters)
