"""Averages of a model's parameters on their way: stochastic weight averaging and exponential moving averages."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
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
        >>> import jax.numpy as jnp
        >>> float(get_swa_avg_fn()(jnp.array(1.0), jnp.array(4.0), jnp.array(2)))
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
        >>> import jax.numpy as jnp
        >>> float(get_ema_avg_fn(0.75)(jnp.array(1.0), jnp.array(2.0), jnp.array(5)))
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
        >>> import jax.numpy as jnp
        >>> average = averaged_model(get_ema_avg_fn(0.9))
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


def update_bn(loader: Iterable[Any], model: nnx.Module) -> None:
    """Compute the running statistics of a model's batch norms anew, for parameters that it was not trained with.

    The statistics start afresh and become the mean over all batches of the loader, which the model sees in training
    mode; parameters, modes and momenta stay as they are. Without tracked statistics nothing happens.

    Args:
        loader: batches; of a tuple or list, the first element is the model's input.
        model: a module with `jaxtrain.nn.BatchNorm` layers, whose variables are changed in place.

    Raises:
        ValueError: if the loader is empty.
        TypeError: if a batch norm of the model is not one of `jaxtrain.nn`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> model = nn.BatchNorm(1)
        >>> update_bn([jnp.array([[1.0], [3.0]]), jnp.array([[5.0], [9.0]])], model)
        >>> print(model.running_mean[...], model.running_var[...])
        [4.5] [5.]

    PyTorch: `torch.optim.swa_utils.update_bn`, which accepts an empty loader and leaves means of 0 and variances of 1.

    Source: Izmailov et al., `Averaging Weights Leads to Wider Optima and Better Generalization
    <https://arxiv.org/abs/1803.05407>`_, 2018.
    """
    copy = nnx.clone(model)
    copy.train()
    tracked = False
    module: Any
    for path, module in nnx.iter_modules(copy):
        # The rooms of this package do not know each other; a batch norm is known by its name.
        if not any(kind.__name__ == "BatchNorm" for kind in type(module).__mro__):
            continue
        if not hasattr(module, "running_mean"):
            raise TypeError(
                f"update_bn: expected a batch norm of jaxtrain.nn, got {type(module).__module__}."
                f"{type(module).__name__} at {'.'.join(map(str, path)) or 'the top'}"
            )
        if module.running_mean is not None:
            module.momentum = None
            module.running_mean[...] = jnp.zeros_like(module.running_mean[...])
            module.running_var[...] = jnp.ones_like(module.running_var[...])
            module.num_batches_tracked[...] = jnp.zeros_like(module.num_batches_tracked[...])
            tracked = True
    if not tracked:
        return
    graph, state = nnx.split(copy)

    @jax.jit
    def see(state: nnx.State, batch: jax.Array) -> nnx.State:
        module = nnx.merge(graph, state)
        module(batch)
        return nnx.state(module)

    fresh = state
    for batch in loader:
        state = see(state, batch[0] if isinstance(batch, tuple | list) else batch)
    if state is fresh:
        raise ValueError("update_bn: the loader is empty; statistics need at least one batch")
    nnx.update(model, state)


def _scalar(function: Callable[[], jax.Array], dtype: jnp.dtype) -> jax.Array:
    """The function's result, computed in float64."""
    return in_float64(function, dtype=dtype)
