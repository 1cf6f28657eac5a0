"""Reduce the rate when a metric stops improving."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxtrain._ground.checks import check_choice, check_integer
from jaxtrain._ground.dtypes import default_float
from jaxtrain._ground.float64 import as_float64, in_float64, raised
from jaxtrain.schedules._schedule import check_number, refuse_optimizer

_LARGEST = np.iinfo(np.int32).max


class PlateauState(NamedTuple):
    """The state of `reduce_lr_on_plateau`.

    Attributes:
        lr: the rate for the next epoch, in the default float type.
        best: the best metric so far.
        num_bad_epochs: epochs since then, or since the last reduction.
        cooldown_counter: epochs until bad ones are counted again.
        num_reductions: how often the rate was reduced. The rate is computed from it, so it never drifts.

    PyTorch: the attributes of `torch.optim.lr_scheduler.ReduceLROnPlateau`.
    """

    lr: Float[Array, ""]
    best: Float[Array, ""]
    num_bad_epochs: Int[Array, ""]
    cooldown_counter: Int[Array, ""]
    num_reductions: Int[Array, ""]


class Plateau(NamedTuple):
    """Two pure functions, for use inside `jit` and on the host.

    Attributes:
        init: `init()` is the first state.
        update: `update(state, metrics)` is the state after an epoch with that metric.

    PyTorch: `torch.optim.lr_scheduler.ReduceLROnPlateau`, an object that changes.
    """

    init: Callable[[], PlateauState]
    update: Callable[[PlateauState, ArrayLike], PlateauState]


def reduce_lr_on_plateau(
    lr: ArrayLike,
    mode: Literal["min", "max"] = "min",
    factor: ArrayLike = 0.1,
    patience: int = 10,
    threshold: ArrayLike = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel",
    cooldown: int = 0,
    min_lr: ArrayLike = 0.0,
    eps: ArrayLike = 1e-8,
) -> Plateau:
    """Multiply the rate by `factor` once a metric has been bad for more than `patience` epochs in a row.

    A metric is good, and becomes the best so far, if

        mode   threshold_mode
        min    rel              metric < best · (1 - threshold)
        min    abs              metric < best - threshold
        max    rel              metric > best · (1 + threshold)
        max    abs              metric > best + threshold

    NaN is bad. A relative threshold on a negative best metric makes slightly worse ones good, as in PyTorch.

    Args:
        lr: the base rate, at least 0.
        mode: `"min"` if the metric should fall, `"max"` if it should rise. Default `"min"`.
        factor: the factor of one reduction, at least 0, below 1. Default 0.1.
        patience: how many bad epochs in a row are tolerated, at least 0. Default 10.
        threshold: the least improvement that counts, at least 0. Default 1e-4.
        threshold_mode: `"rel"` for a threshold relative to the best metric, `"abs"` for an absolute one. Default
            `"rel"`.
        cooldown: how many epochs after a reduction are not counted as bad, at least 0. Default 0.
        min_lr: the rate is not reduced below this, at least 0. Default 0.
        eps: a reduction of the rate by no more than this does not happen, at least 0. Default 1e-8.

    Returns:
        A `Plateau`, whose states carry the rate in `lr`.

    Raises:
        ValueError: if an argument is out of range or unknown.
        TypeError: if `patience` or `cooldown` is not an integer.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from jaxtrain import optim, schedules
        >>> plateau = schedules.reduce_lr_on_plateau(0.1, factor=0.5, patience=1)
        >>> state = plateau.init()
        >>> for loss in (3.0, 2.0, 2.0, 2.0):
        ...     state = plateau.update(state, loss)
        >>> round(float(state.lr), 6), int(state.num_reductions)
        (0.05, 1)

        An optimizer gets the rate through its state. Without `hyperparam_dtype`, Optax would round all
        hyper-parameters to the dtype of the parameters, which takes 0.99 to 0.988 in bfloat16:

        >>> optimizer = optax.inject_hyperparams(optim.sgd, hyperparam_dtype=jnp.float32)(lr=0.1)
        >>> parameter, gradient = jnp.ones(2), jnp.array([1.0, -2.0])
        >>> optimizer_state = optimizer.init(parameter)
        >>> optimizer_state.hyperparams["lr"] = state.lr
        >>> updates, optimizer_state = optimizer.update(gradient, optimizer_state, parameter)
        >>> print(updates)
        [-0.05  0.1 ]

    PyTorch: `torch.optim.lr_scheduler.ReduceLROnPlateau`, which compares the metric in float64; here it is compared in
    the default float type, float32 unless x64 is on.
    """
    where = "reduce_lr_on_plateau"
    refuse_optimizer(where, "lr", lr, "optax.inject_hyperparams(optim.sgd)(lr=0.1), whose state takes that of this one")
    check_number(where, "lr", lr)
    check_choice(where, "mode", mode, ("min", "max"))
    check_number(where, "factor", factor, 0.0, 1.0, open_high=True)
    patience = min(check_integer(where, "patience", patience, 0), _LARGEST - 1)
    check_number(where, "threshold", threshold)
    check_choice(where, "threshold_mode", threshold_mode, ("rel", "abs"))
    cooldown = min(check_integer(where, "cooldown", cooldown, 0), _LARGEST)
    check_number(where, "min_lr", min_lr)
    check_number(where, "eps", eps)

    def reduced(reductions: ArrayLike) -> jax.Array:
        # A rate that begins below min_lr stays as it is.
        floor = jnp.minimum(as_float64(min_lr), as_float64(lr))
        return jnp.maximum(as_float64(lr) * raised(factor, reductions), floor)

    def is_better(metric: jax.Array, best: jax.Array) -> jax.Array:
        margin = as_float64(threshold)
        match mode, threshold_mode:
            case "min", "rel":
                return metric < best * (1 - margin)
            case "min", "abs":
                return metric < best - margin
            case "max", "rel":
                return metric > best * (1 + margin)
            case _:
                return metric > best + margin

    def after(state: PlateauState, metric: jax.Array) -> PlateauState:
        metric, best = as_float64(metric), as_float64(state.best)
        better = is_better(metric, best)
        cooling = state.cooldown_counter > 0
        bad_epochs = jnp.where(better | cooling, 0, state.num_bad_epochs + 1)
        tired = bad_epochs > patience
        reductions = state.num_reductions
        matters = reduced(reductions) - reduced(reductions + 1) > as_float64(eps)
        reductions = reductions + (tired & matters).astype(jnp.int32)
        return PlateauState(
            lr=reduced(reductions),
            best=jnp.where(better, metric, best),
            num_bad_epochs=jnp.where(tired, 0, bad_epochs),
            cooldown_counter=jnp.where(tired, cooldown, state.cooldown_counter - cooling.astype(jnp.int32)),
            num_reductions=reductions,
        )

    def init() -> PlateauState:
        dtype = default_float()
        worst = jnp.asarray(jnp.inf if mode == "min" else -jnp.inf, dtype)
        # Three arrays, not one three times: a buffer can be donated only once.
        zeros = (jnp.zeros((), jnp.int32) for _ in range(3))
        return PlateauState(in_float64(reduced, 0, dtype=dtype), worst, *zeros)

    def update(state: PlateauState, metrics: ArrayLike) -> PlateauState:
        if not isinstance(state, PlateauState):
            raise TypeError(f"{where}: expected the PlateauState that its init returns, got {type(state).__name__}")
        if not hasattr(metrics, "dtype") and not isinstance(metrics, int | float):
            raise TypeError(f"{where}: the metric must be a number, got {metrics!r}; skip the update without one")
        if jnp.ndim(metrics):
            raise ValueError(f"{where}: the metric must be a scalar, got shape {jnp.shape(metrics)}; average it first")
        dtype = default_float()
        metric = jnp.asarray(metrics, dtype)
        return in_float64(after, state, metric, dtype=dtype)

    return Plateau(init, update)
