"""Rprop."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxtrain._ground.checks import check_length, is_concrete
from jaxtrain._ground.ranges import ANY, NOT_NEGATIVE, Interval
from jaxtrain.optim._hyperparameters import Hyperparameter, Ranges
from jaxtrain.optim._per_parameter import per_parameter

RANGES: Ranges = {
    "lr": NOT_NEGATIVE,
    "etas": (Interval(0.0, 1.0, open_low=True, open_high=True), Interval(1.0, open_low=True)),
    "step_sizes": (ANY, ANY),
}


class RpropState(NamedTuple):
    """State of `rprop`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate at the last update; only a parameter's first step uses it.
        prev: each parameter's last gradient; zero where its sign had changed.
        step_size: length of each parameter's last step.
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
    """Resilient backpropagation: the sign of the gradient times a step size that sign changes adapt.

        f ← η⁺ where g·g′ > 0, η⁻ where g·g′ < 0, 1 elsewhere
        Δ ← min(max(f·Δ, Δ₁), Δ₂)
        g ← 0 where g·g′ < 0
        p ← p - sign(g)·Δ
        g′ ← g

    Each element has its own step size Δ, which starts at η, and its own last gradient g′, which starts at 0. After a
    change of sign an element rests for one step, and the next step keeps its step size. The limits hold from the first
    step on.

    Args:
        lr: first step size η ≥ 0: a number, array or schedule, like every argument except the flag. Later values of a
            schedule have no effect. Default 1e-2.
        etas: factors (η⁻, η⁺) with 0 < η⁻ < 1 < η⁺. Default (0.5, 1.2).
        step_sizes: limits (Δ₁, Δ₂) of the step size, with Δ₁ ≤ Δ₂. Default (1e-6, 50).
        maximize: use -g instead of g, to ascend instead of descend. Default False.

    Returns:
        An `optax.GradientTransformation` with an `RpropState`. Buffers have the shape and dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        The sign changes at the third gradient, where the parameter rests:

        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
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

    PyTorch: `torch.optim.Rprop`, which compares the signs by the product g·g′ and sees no agreement where it
    underflows, for example for float32 gradients of 1e-23. Here g is multiplied by the sign of g′. A NaN gradient gives
    NaN here; PyTorch treats it as zero. `optax.rprop` lags one step behind, and does not limit the first step.

    Source: Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm",
    1993, https://doi.org/10.1109/ICNN.1993.298623
    """

    def derived(step, h):
        return {"start": jnp.where(step == 1, h.lr, 0)}

    def update(g, p, b, h):
        (smaller, larger), (lowest, highest) = h.etas, h.step_sizes
        agreement = g * jnp.sign(b.prev)
        factor = jnp.where(agreement > 0, larger, jnp.where(agreement < 0, smaller, 1))
        # The buffer holds 0 before the first step, and `start` is 0 after it.
        step_size = lax.clamp(lowest, (h.start + b.step_size) * factor, highest)
        g = jnp.where(agreement < 0, 0, g)
        return -jnp.sign(g) * step_size, {"prev": g, "step_size": step_size}

    lowest, _ = check_length("rprop", "step_sizes", step_sizes, 2)
    ranges = {**RANGES, "step_sizes": (ANY, Interval(lowest) if is_concrete(lowest) else ANY)}
    return per_parameter(
        "rprop",
        RpropState,
        ranges,
        {"lr": lr, "etas": etas, "step_sizes": step_sizes},
        buffers=("prev", "step_size"),
        derived=derived,
        update=update,
        maximize=maximize,
    )
