"""RMSprop."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.checks import check_flag, is_zero
from jaxtrain._ground.ranges import NOT_NEGATIVE
from jaxtrain.optim._hyperparameters import Hyperparameter, Ranges
from jaxtrain.optim._lerp import lerp
from jaxtrain.optim._per_parameter import per_parameter

RANGES: Ranges = {
    "lr": NOT_NEGATIVE,
    "alpha": NOT_NEGATIVE,
    "eps": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "momentum": NOT_NEGATIVE,
}


class RMSpropState(NamedTuple):
    """State of `rmsprop`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate of the last update.
        square_avg: running mean of each parameter's squared gradients.
        grad_avg: running mean of the gradients; None unless centered.
        momentum_buffer: running direction b; None without momentum.
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
    """RMSprop: the gradient divided by the root of its mean square.

        g ← g + λ·p
        v ← α·v + (1 - α)·g²
        h ← α·h + (1 - α)·g
        s ← v - h² if centered else v
        b ← μ·b + g/(√s + ε)
        p ← p - η·b

    ε is added outside the root. The learning rate is applied after the momentum, so a schedule takes effect at once.

    Args:
        lr: learning rate η ≥ 0: a number, array or schedule, like every argument except the flags. Default 1e-2.
        alpha: decay rate α ≥ 0 of the means. Default 0.99.
        eps: ε ≥ 0, added to the denominator. Default 1e-8.
        weight_decay: λ ≥ 0, an L2 penalty added to the gradient. Default 0.
        momentum: μ ≥ 0. A plain 0 keeps no buffer. Default 0.
        centered: subtract the square of the mean gradient, so that s estimates the variance. Default False.
        maximize: use -g instead of g, to ascend instead of descend. Default False.

    Returns:
        An `optax.GradientTransformation` with an `RMSpropState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        If the first gradient is far above `eps`, the step is `lr / sqrt(1 - alpha)`, ten times the learning rate:

        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> optimizer = optim.rmsprop(lr=0.01)
        >>> update, _ = optimizer.update(jnp.array(3.0), optimizer.init(jnp.array(0.0)))
        >>> round(float(update), 6)
        -0.1

    PyTorch: `torch.optim.RMSprop`. Where rounding makes v - h² negative, PyTorch's root is NaN; here s is 0.
    `optax.rmsprop` adds ε inside the root, has a default α of 0.9, and applies the learning rate before the momentum.

    Source: Hinton, "Neural Networks for Machine Learning" (lecture 6e), 2012,
    https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf

    Source: Graves, "Generating Sequences With Recurrent Neural Networks" (centered), 2013,
    https://arxiv.org/abs/1308.0850
    """
    check_flag("rmsprop", "centered", centered)
    has_momentum = not is_zero(momentum)

    def derived(step, h):
        return {"fresh": 1 - h.alpha}

    def update(g, p, b, h):
        square_avg = h.alpha * b.square_avg + h.fresh * g * g
        new = {"square_avg": square_avg}
        variance = square_avg
        if centered:
            new["grad_avg"] = lerp(b.grad_avg, g, h.fresh)
            variance = jnp.maximum(square_avg - new["grad_avg"] ** 2, 0)
        direction = g / (jnp.sqrt(variance) + h.eps)
        if has_momentum:
            direction = new["momentum_buffer"] = h.momentum * b.momentum_buffer + direction
        return -h.lr * direction, new

    return per_parameter(
        "rmsprop",
        RMSpropState,
        RANGES,
        {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum},
        buffers=("square_avg", *["grad_avg"] * bool(centered), *["momentum_buffer"] * has_momentum),
        derived=derived,
        update=update,
        maximize=maximize,
        decay="l2",
    )
