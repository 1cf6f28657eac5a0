"""Adam and AdamW."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.checks import check_length, check_scalar, is_zero
from jaxtrain.optim._lerp import lerp
from jaxtrain.optim._per_parameter import Buffers, Hyperparameter, per_parameter


class AdamState(NamedTuple):
    """State of `adam` and `adamw`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
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
    """Adam, with bias corrections computed in float64 even for float32 parameters.

        g ← g + λ·p
        m ← β₁·m + (1 - β₁)·g
        v ← β₂·v + (1 - β₂)·g²
        s ← max(s, v) if amsgrad else v
        p ← p - η/(1 - β₁ᵗ) · m/(√s/√(1 - β₂ᵗ) + ε)

    t is the number of the step, from 1. ε is added outside the root, and `amsgrad` takes its maximum before the bias
    correction.

    Args:
        lr: learning rate η ≥ 0: a number, array or schedule, like every argument except the flags. Default 1e-3.
        betas: decay rates (β₁, β₂) of the two means, in [0, 1). Default (0.9, 0.999).
        eps: ε ≥ 0, added to the denominator. Default 1e-8.
        weight_decay: λ ≥ 0, an L2 penalty added to the gradient. Default 0.
        amsgrad: divide by the root of the largest second moment so far. Default False.
        maximize: use -g instead of g, to ascend instead of descend. Default False.
        decoupled_weight_decay: decay as `adamw` does. Default False.

    Returns:
        An `optax.GradientTransformation` with an `AdamState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        The first step has the length of the learning rate, whatever the gradient:

        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> optimizer = optim.adam(lr=0.01)
        >>> update, state = optimizer.update(jnp.array([3.0, -0.002]), optimizer.init(jnp.zeros(2)))
        >>> update.round(5).tolist()
        [-0.009999999776482582, 0.009999999776482582]

    PyTorch: `torch.optim.Adam`. `optax.adam` computes the bias corrections in float32, and `optax.amsgrad` takes its
    maximum after the correction.

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, https://arxiv.org/abs/1412.6980

    Source: Reddi et al., "On the Convergence of Adam and Beyond", 2018, https://arxiv.org/abs/1904.09237
    """
    return _adam("adam", lr, betas, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay)


def adamw(
    lr: Hyperparameter = 1e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 1e-2,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay.

        p ← p - η·λ·p - adam(g)

    Here adam(g) is the step of `adam` without weight decay. The decay does not pass through the gradient: it follows
    the schedule of the learning rate, and `maximize` does not change its sign.

    Args:
        lr: learning rate η ≥ 0: a number, array or schedule, like every argument except the flags. Default 1e-3.
        betas: decay rates (β₁, β₂) of the two means, in [0, 1). Default (0.9, 0.999).
        eps: ε ≥ 0, added to the denominator, outside the root. Default 1e-8.
        weight_decay: λ ≥ 0, multiplied by the learning rate. Default 1e-2.
        amsgrad: divide by the root of the largest second moment so far. Default False.
        maximize: use -g instead of g, to ascend instead of descend. Default False.

    Returns:
        An `optax.GradientTransformation` with an `AdamState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        Without a gradient the parameter shrinks by `lr * weight_decay`:

        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> optimizer = optim.adamw(lr=0.1, weight_decay=0.05)
        >>> parameter = jnp.array(2.0)
        >>> update, _ = optimizer.update(jnp.array(0.0), optimizer.init(parameter), parameter)
        >>> round(float(update), 6)
        -0.01

    PyTorch: `torch.optim.AdamW`. The default decay of `optax.adamw` is 1e-4, a hundredth of PyTorch's.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, https://arxiv.org/abs/1711.05101
    """
    return _adam("adamw", lr, betas, eps, weight_decay, amsgrad, maximize, decoupled=True)


def _adam(
    name: str,
    lr: Hyperparameter,
    betas: tuple[Hyperparameter, Hyperparameter],
    eps: Hyperparameter,
    weight_decay: Hyperparameter,
    amsgrad: bool,
    maximize: bool,
    decoupled: bool,
) -> optax.GradientTransformation:
    beta1, beta2 = check_length(name, "betas", betas, 2)
    check_scalar(name, "lr", lr, 0.0)
    check_scalar(name, "betas[0]", beta1, 0.0, 1.0, open_high=True)
    check_scalar(name, "betas[1]", beta2, 0.0, 1.0, open_high=True)
    check_scalar(name, "eps", eps, 0.0)
    check_scalar(name, "weight_decay", weight_decay, 0.0)
    decays = not is_zero(weight_decay)

    def buffers(parameter: jax.Array) -> Buffers:
        names = ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * amsgrad
        return {name: jnp.zeros_like(parameter) for name in names}

    def scalars(step, lr, beta1, beta2, eps, weight_decay):
        return {
            "step_size": lr / (1 - beta1**step),
            "root_correction": jnp.sqrt(1 - beta2**step),
            "fresh1": 1 - beta1,
            "beta2": beta2,
            "fresh2": 1 - beta2,
            "eps": eps,
            "decay": lr * weight_decay if decoupled else weight_decay,
        }

    def update(
        gradient, parameter, *, step_size, root_correction, fresh1, beta2, fresh2, eps, decay,
        exp_avg, exp_avg_sq, max_exp_avg_sq=None,
    ):  # fmt: skip
        if maximize:
            gradient = -gradient
        if decays and not decoupled:
            gradient = gradient + decay * parameter
        exp_avg = lerp(exp_avg, gradient, fresh1)
        exp_avg_sq = beta2 * exp_avg_sq + fresh2 * gradient * gradient
        new = {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
        second_moment = exp_avg_sq
        if max_exp_avg_sq is not None:
            second_moment = new["max_exp_avg_sq"] = jnp.maximum(max_exp_avg_sq, exp_avg_sq)
        change = -step_size * (exp_avg / (jnp.sqrt(second_moment) / root_correction + eps))
        return change - decay * parameter if decays and decoupled else change, new

    hyperparameters = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    needs_parameters = f"the weight_decay of {name}" if decays else ""
    return per_parameter(AdamState, hyperparameters, buffers, scalars, update, needs_parameters)
