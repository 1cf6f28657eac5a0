"""Running averages of a model's parameters: stochastic weight averaging and exponential moving averages."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import PyTree

from jaxtrain._ground.checks import check_flag, check_number
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.float64 import as_float64, in_float64
from jaxtrain.optim._lerp import lerp
from jaxtrain.optim._state import increased

AverageFn = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


class AveragedModelState(NamedTuple):
    """State of an averaged model.

    Attributes:
        n_averaged: number of updates so far, an integer.
        module: averages of the parameters, with their structure, shapes and dtypes.
        buffers: the other variables of the model, averaged as well or copied from the last update.
    """

    n_averaged: jax.Array
    module: Any
    buffers: Any = None


class AveragedModel(NamedTuple):
    """The two pure functions that `averaged_model` returns.

    Attributes:
        init: `init(params, buffers=None)` gives the first state, a copy of both.
        update_parameters: `update_parameters(state, params, buffers=None)` gives the next state, which includes them.
    """

    init: Callable[..., AveragedModelState]
    update_parameters: Callable[..., AveragedModelState]


def get_swa_avg_fn() -> AverageFn:
    """The function of stochastic weight averaging: every model has the same weight.

        a ← a + (p - a)/(n + 1)

    Returns:
        `function(averaged, current, num_averaged)`, for the arrays a and p and the number n of models averaged so far.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> float(optim.get_swa_avg_fn()(jnp.array(1.0), jnp.array(4.0), jnp.array(2)))
        2.0

    PyTorch: `torch.optim.swa_utils.get_swa_avg_fn`, and `get_swa_multi_avg_fn`, which does the same for a list at once.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018,
    https://arxiv.org/abs/1803.05407
    """

    def average(averaged: jax.Array, current: jax.Array, num_averaged: jax.Array) -> jax.Array:
        weight = _scalar(lambda: 1 / (as_float64(num_averaged) + 1), averaged.dtype)
        return lerp(averaged, current, weight)

    return average


def get_ema_avg_fn(decay: ArrayLike = 0.999) -> AverageFn:
    """The function of an exponential moving average.

        a ← a + (1 - decay)·(p - a)

    Args:
        decay: weight of the average so far, one number in [0, 1]. Default 0.999.

    Returns:
        `function(averaged, current, num_averaged)`, for the arrays a and p; `num_averaged` has no influence.

    Raises:
        ValueError: if `decay` is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> float(optim.get_ema_avg_fn(0.75)(jnp.array(1.0), jnp.array(2.0), jnp.array(5)))
        1.25

    PyTorch: `torch.optim.swa_utils.get_ema_avg_fn`, and `get_ema_multi_avg_fn`, whose order of operations is used here.
    In float32 PyTorch's two functions are 1.4e-5 apart after 1000 updates.

    Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992,
    https://doi.org/10.1137/0330046
    """
    check_number("get_ema_avg_fn", "decay", decay, 0.0, 1.0)

    def average(averaged: jax.Array, current: jax.Array, num_averaged: jax.Array) -> jax.Array:
        del num_averaged
        weight = _scalar(lambda: 1 - as_float64(decay), averaged.dtype)
        return lerp(averaged, current, weight)

    return average


def averaged_model(avg_fn: AverageFn | None = None, use_buffers: bool = False) -> AveragedModel:
    """Average the parameters of a model over its updates.

    The first update copies the parameters, whatever `init` was given. Every later one calls `avg_fn` for each array, in
    at least float32. The averages keep the dtype that `init` was given: to average bfloat16 parameters finely, give
    `init` float32 copies of them.

    Args:
        avg_fn: `avg_fn(averaged, current, num_averaged)` gives the new average of one array. Default None: equal
            weights, as from `get_swa_avg_fn()`.
        use_buffers: average the other variables, such as running statistics, like the parameters (integers are rounded
            towards zero, random keys are copied), instead of copying their last values. Default False.

    Returns:
        An `AveragedModel`: the pure functions `init` and `update_parameters`, for use inside or outside `jit` and
        `scan`. Their state is an `AveragedModelState`.

    Raises:
        TypeError: if `avg_fn` is not a function or has not been called yet, or `use_buffers` is not True or False.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> average = optim.averaged_model(optim.get_ema_avg_fn(0.9))
        >>> state = average.init({"w": jnp.array(100.0)})
        >>> for w in (1.0, 2.0, 3.0):
        ...     state = average.update_parameters(state, {"w": jnp.array(w)})
        >>> round(float(state.module["w"]), 4), int(state.n_averaged)
        (1.29, 3)

    PyTorch: `torch.optim.swa_utils.AveragedModel`, whose `multi_avg_fn` only serves speed; `state.module` is its
    `module`. `optax.ema` starts from zero, `nnx.EMA` from the initial parameters.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018,
    https://arxiv.org/abs/1803.05407
    """
    check_flag("averaged_model", "use_buffers", use_buffers)
    for maker in (get_swa_avg_fn, get_ema_avg_fn):
        if avg_fn is maker:
            name = maker.__name__
            raise TypeError(
                f"averaged_model: avg_fn must be a function of two arrays and a number, got {name}, which makes one; "
                f"call it: optim.{name}()"
            )
    average = get_swa_avg_fn() if avg_fn is None else avg_fn
    if not callable(average):
        raise TypeError(
            f"averaged_model: avg_fn must be a function, got {avg_fn!r}; optim.get_ema_avg_fn(decay) makes one"
        )

    def init(params: PyTree, buffers: PyTree = None) -> AveragedModelState:
        params, buffers = jax.tree.map(jnp.copy, (params, buffers))
        return AveragedModelState(jnp.zeros((), jnp.int32), params, buffers)

    @jax.jit  # Traced once for all arrays of one shape and dtype.
    def mean(old: jax.Array, new: jax.Array, n_averaged: jax.Array) -> jax.Array:
        working = at_least_float32(old.dtype)
        result = average(old.astype(working), new.astype(working), n_averaged)
        return jnp.where(n_averaged == 0, new.astype(old.dtype), result.astype(old.dtype))

    def update_parameters(state: AveragedModelState, params: PyTree, buffers: PyTree = None) -> AveragedModelState:
        if not isinstance(state, AveragedModelState):
            raise TypeError(
                f"averaged_model: expected the AveragedModelState that its init returns, got {type(state).__name__}"
            )

        def averaged(old: jax.Array, new: jax.Array) -> jax.Array:
            if jnp.shape(old) != jnp.shape(new):
                raise ValueError(
                    f"averaged_model: expected an array of shape {jnp.shape(old)}, as init was given, got "
                    f"{jnp.shape(new)}"
                )
            if jnp.issubdtype(old.dtype, jax.dtypes.prng_key):
                return jnp.copy(new)  # The state of a random stream has no mean.
            return mean(old, new, state.n_averaged)

        if jax.tree.structure(buffers) != jax.tree.structure(state.buffers):
            known, given = (jax.tree.map(jnp.shape, tree) for tree in (state.buffers, buffers))
            raise ValueError(
                f"averaged_model: expected the buffers that init was given, {known}, got {given}; pass the model's "
                "other variables to both, init(params, buffers) and update_parameters(state, params, buffers), or to "
                "neither"
            )
        return AveragedModelState(
            increased(state.n_averaged),
            jax.tree.map(averaged, state.module, params),
            jax.tree.map(averaged if use_buffers else lambda _, new: jnp.copy(new), state.buffers, buffers),
        )

    return AveragedModel(init, update_parameters)


def _scalar(function: Callable[[], jax.Array], dtype: jnp.dtype) -> jax.Array:
    """The function's result, computed in float64."""
    return in_float64(function, dtype=dtype)
