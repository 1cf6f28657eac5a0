"""Adafactor."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.float64 import raised
from jaxtrain._ground.ranges import NOT_NEGATIVE, Interval
from jaxtrain.optim._hyperparameters import Hyperparameter, Ranges
from jaxtrain.optim._per_parameter import per_parameter
from jaxtrain.optim._state import Buffers

RANGES: Ranges = {
    "lr": NOT_NEGATIVE,
    "beta2_decay": Interval(high=0.0),
    "eps": (Interval(0.0, or_none=True), NOT_NEGATIVE),
    "d": Interval(1.0),
    "weight_decay": NOT_NEGATIVE,
}


class AdafactorState(NamedTuple):
    """State of `adafactor`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate of the last update.
        row_var: running mean of each parameter's squared gradients over the last axis, kept with length 1; None for
            vectors and scalars.
        col_var: the same over the last axis but one.
        variance: running mean of the squared gradients of vectors and scalars; None for other parameters.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    row_var: Any = None
    col_var: Any = None
    variance: Any = None


def adafactor(
    lr: Hyperparameter = 1e-2,
    beta2_decay: Hyperparameter = -0.8,
    eps: tuple[Hyperparameter | None, Hyperparameter] = (None, 1e-3),
    d: Hyperparameter = 1.0,
    weight_decay: Hyperparameter = 0.0,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adafactor: second moments factored into rows and columns, and steps relative to the size of the parameter.

        r ← r + t^τ · (row_means(g²) - r)
        c ← c + t^τ · (column_means(g²) - c)
        v ← r·c/max(mean(r), ε₁)
        u ← g/√max(v, ε₁²)
        p ← p - η·λ·p - max(ε₂, rms(p)) · min(η, 1/√t) · u/max(1, rms(u)/d)

    Vectors and scalars keep v itself: v ← v + t^τ · (g² - v). Rows and columns are the last two axes; the axes before
    them count a stack of matrices. rms is taken over the whole parameter, rms(p) before it decays. A matrix and its
    transpose get the same update.

    Args:
        lr: largest relative step size η ≥ 0: a number, array or schedule, like every argument except the flag. Default
            1e-2.
        beta2_decay: power τ ≤ 0 by which the means slow down. Default -0.8.
        eps: floors (ε₁, ε₂), both ≥ 0: of the root of the second moments, and of the size of the parameter. If ε₁ is
            None, it is the spacing of the parameter's own dtype at 1. Default (None, 1e-3).
        d: root mean square d ≥ 1 above which u is scaled down. Default 1.
        weight_decay: λ ≥ 0, decoupled and multiplied by `lr`. Default 0.
        maximize: use -g instead of g, to ascend instead of descend. Default False.

    Returns:
        An `optax.GradientTransformation` with an `AdafactorState`, which needs the parameters in `update`. Buffers have
        the dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        The first step is a hundredth of the parameter's root mean square. Eight numbers hold the second moments of its
        fifteen elements:

        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> optimizer = optim.adafactor()
        >>> parameter = jnp.full((3, 5), 2.0)
        >>> update, state = optimizer.update(jnp.full((3, 5), 7.0), optimizer.init(parameter), parameter)
        >>> round(float(update[0, 0]), 6)
        -0.02
        >>> state.row_var.shape, state.col_var.shape
        ((3, 1), (1, 5))

    PyTorch: `torch.optim.Adafactor`, which takes the default ε₁ of all parameters in a group from the dtype of the
    first one. For the kernel of a convolution, PyTorch factors the last two axes of its layout, the window; here they
    are the channels in and out. `optax.adafactor` factors the two largest axes, and only from a length of 128 on; it
    decays without the learning rate, and adds 1e-30 instead of applying the floor ε₁.

    Source: Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018,
    https://arxiv.org/abs/1804.04235
    """

    def buffers(parameter: jax.Array) -> Buffers:
        if parameter.ndim < 2:
            return {"variance": jnp.zeros_like(parameter)}
        # Sums, because they are sharded as the means of the gradients will be.
        return {
            "row_var": jnp.zeros_like(parameter.sum(axis=-1, keepdims=True)),
            "col_var": jnp.zeros_like(parameter.sum(axis=-2, keepdims=True)),
        }

    def derived(step, h):
        return {"fresh": raised(step, h.beta2_decay), "relative": jnp.minimum(h.lr, 1 / jnp.sqrt(step))}

    def update(g, p, b, h):
        eps1, eps2 = h.eps
        if eps1 is None:
            eps1 = jnp.finfo(p.dtype).eps.astype(g.dtype)
        square = g * g
        if b.variance is None:
            row_var = b.row_var + h.fresh * (square.mean(axis=-1, keepdims=True) - b.row_var)
            col_var = b.col_var + h.fresh * (square.mean(axis=-2, keepdims=True) - b.col_var)
            new = {"row_var": row_var, "col_var": col_var}
            estimate = row_var * col_var / jnp.maximum(row_var.mean(axis=-2, keepdims=True), eps1)
        else:
            estimate = b.variance + h.fresh * (square - b.variance)
            new = {"variance": estimate}
        direction = g / jnp.sqrt(jnp.maximum(estimate, eps1 * eps1))
        step_size = _at_least(eps2, _root_mean_square(p.astype(g.dtype))) * h.relative
        return -step_size / _at_least(jnp.ones_like(h.d), _root_mean_square(direction) / h.d) * direction, new

    return per_parameter(
        "adafactor",
        AdafactorState,
        RANGES,
        {"lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay},
        buffers=buffers,
        derived=derived,
        update=update,
        maximize=maximize,
        decay="decoupled",
        reads_parameters=True,
    )


def _at_least(floor: jax.Array, value: jax.Array) -> jax.Array:
    """The larger of two numbers, and `floor` if the value is NaN: so one NaN element does not stop the others."""
    return jnp.where(value > floor, value, floor)


def _root_mean_square(array: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(array * array))
