"""Batch normalization."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxtrain._ground.axes import along_axis, other_axes
from jaxtrain._ground.checks import check_number, check_range
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.float64 import as_float64, in_float64
from jaxtrain._ground.spread import spread
from jaxtrain.nn._arrays import as_floating, as_vector, canonical_axis, check_flags, per_channel
from jaxtrain.nn._running_norm import Normalized, RunningNorm, moved
from jaxtrain.nn._standardize import Over, standardize


def batch_norm(
    input: Float[Array, "..."],
    running_mean: Float[Array, "channels"] | None,
    running_var: Float[Array, "channels"] | None,
    weight: Float[Array, "channels"] | None = None,
    bias: Float[Array, "channels"] | None = None,
    training: bool = False,
    momentum: float | jax.Array = 0.1,
    eps: float = 1e-5,
    *,
    axis: int = -1,
    axis_name: str | tuple[str, ...] | None = None,
) -> tuple[Float[Array, "..."], Float[Array, "channels"] | None, Float[Array, "channels"] | None]:
    """Normalize each channel over all other axes.

        y = (x - mean) / √(var + eps) · weight + bias
        running_mean ← (1 - momentum) · running_mean + momentum · mean
        running_var ← (1 - momentum) · running_var + momentum · var · n / (n - 1)

    In training, mean and var are the statistics of the batch, and the running statistics are updated; n is the number
    of values per channel, by which var divides. An empty batch leaves them as they are. In evaluation, mean and var are
    the running statistics.

    Args:
        input: array with the channels along `axis`, of at least two dimensions.
        running_mean: running mean of each channel; None if it is not tracked.
        running_var: running variance of each channel; None if it is not tracked.
        weight: factor of each channel. Default None: 1.
        bias: offset of each channel. Default None: 0.
        training: whether to normalize by the statistics of the batch. Default False.
        momentum: weight of this batch in the running statistics. Default 0.1.
        eps: added to the variance; at least 0, and above 0 in training. Default 1e-5.
        axis: axis of the channels. Default -1; 1 is PyTorch's layout.
        axis_name: mapped axes (of `shard_map` or `vmap`) over which the batch is sharded. Not needed under `jit`, where
            the statistics run over the whole batch.

    Returns:
        The output, of the input's shape and dtype, and the new running mean and variance, each in its own dtype; in
        evaluation they are unchanged.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if a size does not fit, eps is out of range, training sees a single value per channel, or the
            running statistics are missing in evaluation.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> x = jnp.array([[1.0], [3.0]])
        >>> y, mean, var = nn.batch_norm(x, jnp.zeros(1), jnp.ones(1), training=True)
        >>> print(y[:, 0], mean, var)
        [-0.999995  0.999995] [0.2] [1.1]

    PyTorch: `torch.nn.functional.batch_norm`, which has the channels along axis 1, and changes the running statistics
    in place; this function returns new ones.

    Source: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
    Shift", 2015, https://arxiv.org/abs/1502.03167
    """
    input = as_floating("batch_norm", input)
    check_flags("batch_norm", training=training)
    check_range("batch_norm", "eps", eps, 0.0, open_low=training)
    check_number("batch_norm", "momentum", momentum)
    axis = canonical_axis("batch_norm", input, axis)
    if input.ndim < 2:
        raise ValueError(f"batch_norm: expected a batch, of at least two dimensions, got shape {input.shape}")
    named = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    running_mean, running_var, weight, bias = (
        as_vector("batch_norm", name, vector, input, axis) for name, vector in named.items()
    )

    x = input.astype(at_least_float32(input.dtype))
    scale, shift = per_channel(weight, x, axis), per_channel(bias, x, axis)
    if training:
        others = other_axes(x.ndim, axis)
        count = _count_per_channel(input, others, axis_name)
        if count == 0:
            return input, running_mean, running_var
        output, mean, variance = standardize(x, Over(others, axis_name), eps, scale=scale, bias=shift)
        running_mean = moved(running_mean, mean, momentum)
        running_var = moved(running_var, variance, momentum, count)
    elif running_mean is None or running_var is None:
        raise ValueError(
            "batch_norm: evaluation needs running_mean and running_var; pass both, or training=True to normalize by "
            "the statistics of the batch"
        )
    else:
        mean, variance = (along_axis(v, axis, x.ndim).astype(x.dtype) for v in (running_mean, running_var))
        output = (x - mean) * spread(in_float64(_slope, scale, variance, eps, dtype=x.dtype), x)
        output = output if shift is None else output + spread(shift, x)
    return output.astype(input.dtype), running_mean, running_var


def _slope(scale: jax.Array | None, variance: jax.Array, eps: float) -> jax.Array:
    """scale / √(variance + eps) of each channel; in float32, three roundings would shift whole channels."""
    return (1 if scale is None else as_float64(scale)) / jnp.sqrt(as_float64(variance) + eps)


class BatchNorm(RunningNorm):
    """Normalize each channel by the statistics of the batch in training, by their running averages in evaluation.

        y = (x - mean) / √(var + eps) · weight + bias

    `model.train()` and `model.eval()` switch the mode, as does the attribute `use_running_average`. The running
    variance tracks the unbiased estimate, while the normalization uses the biased one (see `nn.batch_norm`).

    Args:
        num_features: number of channels.
        eps: added to the variance; at least 0, and above 0 in training. Default 1e-5.
        momentum: weight of a new batch in the running statistics; None weighs all batches equally. Default 0.1.
        affine: whether to train a weight, starting at 1, and a bias, starting at 0. Default True.
        track_running_stats: whether to keep running statistics; if not, evaluation also uses the statistics of the
            batch. Default True.
        bias: whether an affine layer has a bias. Default True.
        axis: axis of the channels. Default -1; 1 is PyTorch's layout.
        axis_name: mapped axes (of `shard_map` or `vmap`) over which the batch is sharded. Not needed under `jit`.
        param_dtype: dtype of parameters and running statistics. Default float32.
        rngs: accepted as in Flax, whose norms require them; nothing is drawn. Default None.

    Attributes:
        weight: parameter of shape (num_features,), or None.
        bias: parameter of shape (num_features,), or None.
        running_mean: `nnx.BatchStat` of shape (num_features,), or None.
        running_var: `nnx.BatchStat` of shape (num_features,), or None.
        num_batches_tracked: `nnx.BatchStat`, an integer, or None.

    Returns:
        When called with an array of at least two dimensions: an array of the same shape and dtype.
        `use_running_average=` overrides the mode.

    Raises:
        TypeError: if the input is not floating-point, or num_features is not an integer.
        ValueError: if eps is negative, num_features is below 1, the input does not have `num_features` channels, or
            training sees a single value per channel.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> layer = nn.BatchNorm(2)
        >>> y = layer(jnp.array([[0.0, 10.0], [2.0, 14.0]]))
        >>> print(layer.running_mean[...], layer.running_var[...])
        [0.1 1.2] [1.1 1.7]
        >>> layer.eval()
        >>> print(layer(jnp.array([[0.1, 1.2]])))
        [[0. 0.]]

    PyTorch: `torch.nn.BatchNorm1d`, `BatchNorm2d`, `BatchNorm3d` and, over sharded batches, `SyncBatchNorm`.

    Source: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
    Shift", 2015, https://arxiv.org/abs/1502.03167
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        axis: int = -1,
        axis_name: str | tuple[str, ...] | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs | None = None,
    ):
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, bias=bias, axis=axis, param_dtype=param_dtype
        )
        self.axis_name = axis_name

    def reset_running_stats(self) -> None:
        """Reset to running mean 0, running variance 1 and no batch tracked; do nothing if no statistics are kept.

        PyTorch: the method of the same name.
        """
        if self.running_mean is not None:
            self.running_mean[...] = jnp.zeros_like(self.running_mean[...])
            self.running_var[...] = jnp.ones_like(self.running_var[...])
            self.num_batches_tracked[...] = jnp.zeros_like(self.num_batches_tracked[...])

    def _normalized(self, input: jax.Array, *vectors: jax.Array | None, training: bool) -> Normalized:
        tracks = training and self.running_mean is not None
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / (self.num_batches_tracked[...] + 1).astype(at_least_float32(input.dtype)) if tracks else 1.0
        result = batch_norm(
            input,
            *vectors,
            training=training,
            momentum=momentum,
            eps=self.eps,
            axis=self.axis,
            axis_name=self.axis_name,
        )
        if tracks:
            self.num_batches_tracked[...] += 1
        return result


def _count_per_channel(input: jax.Array, others: Sequence[int], axis_name: str | tuple[str, ...] | None) -> int:
    """The number of values per channel in the whole batch; raise `ValueError` if it is one."""
    count = math.prod(input.shape[other] for other in others)
    if axis_name is not None:
        count *= lax.axis_size(axis_name)
    if count == 1:
        raise ValueError(
            f"batch_norm: training needs at least two values per channel, got {count} from an input of shape "
            f"{input.shape}; use a larger batch (drop a last batch of one), or evaluation mode, as in model.eval()"
        )
    return count
