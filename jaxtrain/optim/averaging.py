"""Averages of a model's parameters on their way: stochastic weight averaging and exponential moving averages."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import PyTree

from jaxtrain._ground.checks import check_range
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.float64 import as_float64, in_float64
from jaxtrain.optim._lerp import lerp

AverageFn = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


class AveragedModelState(NamedTuple):
    """What an averaged model has seen so far.

    Attributes:
        n_averaged: number of updates, an integer.
        module: averages of the parameters, of their structure, shapes and dtypes.
        buffers: the other variables of the model, averaged as well or copied from the last update.
    """

    n_averaged: jax.Array
    module: Any
    buffers: Any = None


class AveragedModel(NamedTuple):
    """Two pure functions, as `averaged_model` makes them.

    Attributes:
        init: `init(params, buffers=None)` gives the first state, a copy of both.
        update_parameters: `update_parameters(state, params, buffers=None)` gives the state that has seen them, too.
    """

    init: Callable[..., AveragedModelState]
    update_parameters: Callable[..., AveragedModelState]


def get_swa_avg_fn() -> AverageFn:
    r"""The function of stochastic weight averaging: equal weights for all models.

    .. math::
        a \leftarrow a + \frac{p - a}{n + 1}

    Returns:
        `function(averaged, current, num_averaged)`, for one array each and the number of models averaged so far.

    Example:
        >>> from jaxtrain import optim
        >>> import jax.numpy as jnp
        >>> float(optim.get_swa_avg_fn()(jnp.array(1.0), jnp.array(4.0), jnp.array(2)))
        2.0

    PyTorch: `torch.optim.swa_utils.get_swa_avg_fn`, and `get_swa_multi_avg_fn`, which does the same for a list at once.

    Source: Izmailov et al., `Averaging Weights Leads to Wider Optima and Better Generalization
    <https://arxiv.org/abs/1803.05407>`_, 2018.
    """

    def average(averaged: jax.Array, current: jax.Array, num_averaged: jax.Array) -> jax.Array:
        weight = _scalar(lambda: 1 / (as_float64(num_averaged) + 1), averaged.dtype)
        return lerp(averaged, current, weight)

    return average


def get_ema_avg_fn(decay: ArrayLike = 0.999) -> AverageFn:
    r"""The function of an exponential moving average.

    .. math::
        a \leftarrow a + (1 - \text{decay}) (p - a)

    Args:
        decay: weight of the average so far, in [0, 1]; a number or an array.

    Returns:
        `function(averaged, current, num_averaged)`, for one array each; the number has no influence.

    Raises:
        ValueError: if `decay` is out of range.

    Example:
        >>> from jaxtrain import optim
        >>> import jax.numpy as jnp
        >>> float(optim.get_ema_avg_fn(0.75)(jnp.array(1.0), jnp.array(2.0), jnp.array(5)))
        1.25

    PyTorch: `torch.optim.swa_utils.get_ema_avg_fn`, and `get_ema_multi_avg_fn`, whose order of operations this is. In
    float32 the two of PyTorch are 1.4e-5 apart after 1000 updates.

    Source: Polyak & Juditsky, `Acceleration of Stochastic Approximation by Averaging
    <https://doi.org/10.1137/0330046>`_, 1992.
    """
    check_range("get_ema_avg_fn", "decay", decay, 0.0, 1.0)

    def average(averaged: jax.Array, current: jax.Array, num_averaged: jax.Array) -> jax.Array:
        del num_averaged
        weight = _scalar(lambda: 1 - as_float64(decay), averaged.dtype)
        return lerp(averaged, current, weight)

    return average


def averaged_model(avg_fn: AverageFn | None = None, use_buffers: bool = False) -> AveragedModel:
    """Average the parameters of a model over its updates.

    The first update copies, whatever `init` was given; every later one calls `avg_fn` for each array. It computes in at
    least float32, and the averages keep the dtype that `init` was given: hand `init` float32 copies of bfloat16
    parameters to average these finely.

    Args:
        avg_fn: `avg_fn(averaged, current, num_averaged)` gives the new average of one array. Default None: equal
            weights, as by `get_swa_avg_fn()`.
        use_buffers: average the other variables, such as running statistics, like parameters (integers are rounded
            towards zero), instead of copying the last ones.

    Returns:
        An `AveragedModel`: the pure functions `init` and `update_parameters`, for use inside `jit` and `scan` or
        outside, whose state is an `AveragedModelState`.

    Example:
        >>> from jaxtrain import optim
        >>> import jax.numpy as jnp
        >>> average = optim.averaged_model(optim.get_ema_avg_fn(0.9))
        >>> state = average.init({"w": jnp.array(100.0)})
        >>> for w in (1.0, 2.0, 3.0):
        ...     state = average.update_parameters(state, {"w": jnp.array(w)})
        >>> round(float(state.module["w"]), 4), int(state.n_averaged)
        (1.29, 3)

    PyTorch: `torch.optim.swa_utils.AveragedModel`, whose `multi_avg_fn` is for speed alone; `state.module` is its
    `module`. `optax.ema` and `nnx.EMA` start from zero and from the initial parameters.

    Source: Izmailov et al., `Averaging Weights Leads to Wider Optima and Better Generalization
    <https://arxiv.org/abs/1803.05407>`_, 2018.
    """
    average = get_swa_avg_fn() if avg_fn is None else avg_fn

    def init(params: PyTree, buffers: PyTree = None) -> AveragedModelState:
        params, buffers = jax.tree.map(jnp.copy, (params, buffers))
        return AveragedModelState(jnp.zeros((), jnp.int32), params, buffers)

    def update_parameters(state: AveragedModelState, params: PyTree, buffers: PyTree = None) -> AveragedModelState:
        def averaged(old: jax.Array, new: jax.Array) -> jax.Array:
            working = at_least_float32(old.dtype)
            mean = average(old.astype(working), new.astype(working), state.n_averaged)
            return jnp.where(state.n_averaged == 0, new.astype(old.dtype), mean.astype(old.dtype))

        return AveragedModelState(
            state.n_averaged + 1,
            jax.tree.map(averaged, state.module, params),
            jax.tree.map(averaged if use_buffers else lambda _, new: jnp.copy(new), state.buffers, buffers),
        )

    return AveragedModel(init, update_parameters)


def _scalar(function: Callable[[], jax.Array], dtype: jnp.dtype) -> jax.Array:
    """The function's result, computed in float64."""
    return in_float64(function, dtype=dtype)
