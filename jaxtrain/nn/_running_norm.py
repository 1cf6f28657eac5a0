"""The base of the norms with running statistics."""

from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_integer, check_number, check_range
from jaxtrain.nn._arrays import check_channels, check_dtypes, check_flags, value
from jaxtrain.nn._named import named

Normalized = tuple[jax.Array, jax.Array | None, jax.Array | None]
"""The output, and the new running mean and variance."""


class RunningNorm(nnx.Module):
    """A norm that can track mean and variance in training and use them in evaluation."""

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        *,
        bias: bool,
        axis: int,
        param_dtype: DTypeLike,
    ):
        where = type(self).__name__
        check_integer(where, "num_features", num_features, 1)
        check_range(where, "eps", eps, 0.0)
        if momentum is not None:
            check_number(where, "momentum", momentum, 0.0, 1.0)
        check_flags(where, affine=affine, track_running_stats=track_running_stats, bias=bias)
        check_dtypes(where, param_dtype=param_dtype)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.axis = axis
        self.use_running_average = False

        def stat(initial: jax.Array) -> Any:
            return nnx.data(nnx.BatchStat(initial) if track_running_stats else None)

        ones, zeros = jnp.ones(num_features, param_dtype), jnp.zeros(num_features, param_dtype)
        self.weight = nnx.data(nnx.Param(ones) if affine else None)
        self.bias = nnx.data(nnx.Param(zeros) if affine and bias else None)
        self.running_mean = stat(zeros)
        self.running_var = stat(ones)
        self.num_batches_tracked = stat(jnp.zeros((), jnp.int32))

    @named
    def __call__(
        self, input: Float[Array, "*shape"], *, use_running_average: bool | None = None
    ) -> Float[Array, "*shape"]:
        evaluation = self.use_running_average if use_running_average is None else use_running_average
        tracks = self.running_mean is not None
        input = check_channels(type(self).__name__, input, self.axis, self.num_features)
        vectors = (value(v) for v in (self.running_mean, self.running_var, self.weight, self.bias))
        output, running_mean, running_var = self._normalized(input, *vectors, training=not (evaluation and tracks))
        if tracks and not evaluation:
            self.running_mean[...] = running_mean
            self.running_var[...] = running_var
        return output

    @abstractmethod
    def _normalized(self, input: jax.Array, *vectors: jax.Array | None, training: bool) -> Normalized:
        """The function that this layer applies; the vectors are running mean, running variance, weight and bias."""

    # `nnx.view_info` reads the docstring, and only if indented by two.
    def set_view(self, use_running_average: bool | None = None) -> None:
        """Set the mode of a view made by `nnx.view`.

        Args:
          use_running_average: True to normalize by the running statistics, as in evaluation.
        """
        if use_running_average is not None:
            self.use_running_average = use_running_average


def moved(
    running: jax.Array | None, statistic: jax.Array, momentum: float | jax.Array, count: float | jax.Array | None = None
) -> jax.Array | None:
    """The running statistic after a batch, in its own dtype and without a gradient.

    A variance of `count` values is made unbiased by a term of its own: the factor count / (count - 1), rounded, would
    err the same way in every batch.
    """
    if running is None:
        return None
    statistic = lax.stop_gradient(statistic).ravel()
    unbiased = statistic if count is None else statistic + statistic / (count - 1)
    new = (1 - momentum) * running.astype(statistic.dtype) + momentum * unbiased
    return new.astype(running.dtype)
