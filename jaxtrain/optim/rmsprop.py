"""RMSprop."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.checks import check_scalar, is_zero
from jaxtrain.optim._lerp import lerp
from jaxtrain.optim._per_parameter import Buffers, Hyperparameter, per_parameter


class RMSpropState(NamedTuple):
    """State of `rmsprop`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate of the last update.
        square_avg: running mean of each parameter's squared gradients.
        grad_avg: running mean of the gradients; None unless centered.
        momentum_buffer: running direction; None without momentum.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    square_avg: Any = None
    grad_avg: Any = None
    momentum_buffer: Any = None


def rmsprop(
    lr: Hyperparameter = 1e-2,
    alpha: Hyperparameter = 0.99,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    momentum: Hyperparameter = 0.0,
    centered: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    r"""RMSprop: the gradient over the root of its mean square.

    With :math:`g \leftarrow \pm g + \lambda p`:

    .. math::
        v \leftarrow \alpha v + (1 - \alpha) g^2, \quad
        \bar g \leftarrow \alpha \bar g + (1 - \alpha) g, \quad
        b \leftarrow \mu b + \frac{g}{\sqrt{v - \bar g^2 \text{ if centered}} + \varepsilon}, \quad
        p \leftarrow p - \eta b

    :math:`\varepsilon` is added outside the root, and the learning rate is applied after the momentum, so that a
    schedule acts at once.

    Args:
        lr: learning rate :math:`\eta \ge 0`; a number, an array or a schedule, like all but the flags.
        alpha: decay rate of the means, at least 0.
        eps: :math:`\varepsilon \ge 0`.
        weight_decay: :math:`\lambda \ge 0`, an L2 penalty added to the gradient.
        momentum: :math:`\mu \ge 0`; a plain 0 keeps no buffer.
        centered: subtract the squared mean gradient, which estimates the variance.
        maximize: ascend instead of descend.

    Returns:
        An `optax.GradientTransformation` with an `RMSpropState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        A gradient far above `eps` moves the parameter by `lr / sqrt(1 - alpha)`, ten times the learning rate:

        >>> from jaxtrain import optim
        >>> import jax.numpy as jnp
        >>> optimizer = optim.rmsprop(lr=0.01)
        >>> update, _ = optimizer.update(jnp.array(3.0), optimizer.init(jnp.array(0.0)))
        >>> round(float(update), 6)
        -0.1

    PyTorch: `torch.optim.RMSprop`. Where rounding makes :math:`v - \bar g^2` negative, PyTorch's root is NaN; here it
    counts as zero. `optax.rmsprop` adds :math:`\varepsilon` inside the root, decays with 0.9, and applies the learning
    rate before the momentum.

    Source: Hinton, `Neural Networks for Machine Learning, lecture 6e
    <https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf>`_, 2012; Graves, `Generating Sequences
    With Recurrent Neural Networks <https://arxiv.org/abs/1308.0850>`_, 2013 (centered).
    """
    check_scalar("rmsprop", "lr", lr, 0.0)
    check_scalar("rmsprop", "alpha", alpha, 0.0)
    check_scalar("rmsprop", "eps", eps, 0.0)
    check_scalar("rmsprop", "weight_decay", weight_decay, 0.0)
    check_scalar("rmsprop", "momentum", momentum, 0.0)
    decays = not is_zero(weight_decay)

    def buffers(parameter: jax.Array) -> Buffers:
        names = ["square_avg"] + ["grad_avg"] * centered + ["momentum_buffer"] * (not is_zero(momentum))
        return {name: jnp.zeros_like(parameter) for name in names}

    def scalars(step, lr, alpha, eps, weight_decay, momentum):
        return {
            "lr": lr,
            "alpha": alpha,
            "fresh": 1 - alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
        }

    def update(
        gradient, parameter, *, lr, alpha, fresh, eps, weight_decay, momentum,
        square_avg, grad_avg=None, momentum_buffer=None,
    ):  # fmt: skip
        if maximize:
            gradient = -gradient
        if decays:
            gradient = gradient + weight_decay * parameter
        square_avg = alpha * square_avg + fresh * gradient * gradient
        new = {"square_avg": square_avg}
        variance = square_avg
        if grad_avg is not None:
            new["grad_avg"] = lerp(grad_avg, gradient, fresh)
            variance = jnp.maximum(square_avg - new["grad_avg"] ** 2, 0)
        direction = gradient / (jnp.sqrt(variance) + eps)
        if momentum_buffer is not None:
            direction = new["momentum_buffer"] = momentum * momentum_buffer + direction
        return -lr * direction, new

    hyperparameters = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
    needs_parameters = "the weight_decay of rmsprop" if decays else ""
    return per_parameter(RMSpropState, hyperparameters, buffers, scalars, update, needs_parameters)
