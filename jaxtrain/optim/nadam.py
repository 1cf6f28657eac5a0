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
        mu_product: product of the momenta so far, a scalar for each parameter.
        exp_avg: running mean of each parameter's gradients.
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
    """NAdam: Adam with Nesterov's look-ahead, and a momentum that warms up from half its value.

        g ← g + λ·p
        μ ← β₁·(1 - 0.96^(t·ψ)/2)
        μ′ ← β₁·(1 - 0.96^((t + 1)·ψ)/2)
        M ← M·μ
        m ← β₁·m + (1 - β₁)·g
        v ← β₂·v + (1 - β₂)·g²
        p ← p - η·((1 - μ)/(1 - M)·g + μ′/(1 - M·μ′)·m)/(√(v/(1 - β₂ᵗ)) + ε)

    t is the number of the step, from 1, and M starts at 1. ε is added outside the root. With `decoupled_weight_decay`
    the first line is p ← p - η·λ·p.

    Args:
        lr: learning rate η ≥ 0: a number, array or schedule, like every argument except the flags. Default 2e-3.
        betas: decay rates (β₁, β₂) of the two means, in [0, 1). Default (0.9, 0.999).
        eps: ε ≥ 0, added to the denominator. Default 1e-8.
        weight_decay: λ ≥ 0, an L2 penalty added to the gradient unless it is decoupled. Default 0.
        momentum_decay: ψ ≥ 0, how fast the momentum warms up; with 0 it stays at β₁/2. Default 4e-3.
        decoupled_weight_decay: decay the parameter itself, as `adamw` does. Default False.
        maximize: use -g instead of g, to ascend instead of descend. Default False.

    Returns:
        An `optax.GradientTransformation` with an `NAdamState`. Buffers have the shape and dtype of their parameters,
        except for the scalar `mu_product`, which has at least float32.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        The first momentum is 0.45, not 0.9:

        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> optimizer = optim.nadam()
        >>> _, state = optimizer.update(jnp.array(3.0), optimizer.init(jnp.array(0.0)))
        >>> round(float(state.mu_product), 6)
        0.450073

    PyTorch: `torch.optim.NAdam`. `optax.nadam` has a constant momentum, which this one approaches only if
    `momentum_decay` is in the thousands, and computes the bias corrections in float32.

    Source: Dozat, "Incorporating Nesterov Momentum into Adam", 2016,
    https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ
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
