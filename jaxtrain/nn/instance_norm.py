"""Instance normalization."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxtrain._ground.axes import other_axes
from jaxtrain._ground.checks import check_number, check_range
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.nn._arrays import as_floating, as_vector, channel_axis, check_flags, per_channel
from jaxtrain.nn._running_norm import Normalized, RunningNorm, moved
from jaxtrain.nn._standardize import Over, standardize
from jaxtrain.nn.batch_norm import batch_norm


def instance_norm(
    input: Float[Array, "*shape"],
    running_mean: Float[Array, "channels"] | None = None,
    running_var: Float[Array, "channels"] | None = None,
    weight: Float[Array, "channels"] | None = None,
    bias: Float[Array, "channels"] | None = None,
    use_input_stats: bool = True,
    momentum: float | jax.Array = 0.1,
    eps: float = 1e-5,
    *,
    axis: int = -1,
) -> tuple[Float[Array, "*shape"], Float[Array, "channels"] | None, Float[Array, "channels"] | None]:
    """Normalize each channel of each example over its positions.

        y = (x - mean) / √(var + eps) · weight + bias
        running_mean ← (1 - momentum) · running_mean + momentum · average of mean
        running_var ← (1 - momentum) · running_var + momentum · average of var · n / (n - 1)

    By default, mean and var are the statistics of the input, and the running statistics are updated by their averages
    over the examples; n is the number of positions, by which var divides. With `use_input_stats=False`, mean and var
    are the running statistics.

    Args:
        input: array of at least three dimensions: examples, positions and channels.
        running_mean: running mean of each channel. Default None: not tracked.
        running_var: running variance of each channel. Default None: not tracked.
        weight: factor of each channel. Default None: 1.
        bias: offset of each channel. Default None: 0.
        use_input_stats: whether to normalize by the statistics of the input. Default True.
        momentum: weight of this input in the running statistics. Default 0.1.
        eps: added to the variance; at least 0, and above 0 with the statistics of the input. Default 1e-5.
        axis: axis of the channels. Default -1; 1 is PyTorch's layout.

    Returns:
        The output, of the input's shape and dtype, and the new running mean and variance, each in its own dtype; with
        `use_input_stats=False` they are unchanged.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if a size does not fit, eps is out of range, the input has a single position, or the running
            statistics are missing with `use_input_stats=False`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> x = jnp.array([[[0.0], [4.0]], [[3.0], [7.0]]])
        >>> y, mean, var = nn.instance_norm(x, jnp.zeros(1), jnp.ones(1), momentum=0.5)
        >>> print(y.ravel(), mean, var)
        [-0.99999875  0.99999875 -0.99999875  0.99999875] [1.75] [4.5]

    PyTorch: `torch.nn.functional.instance_norm`, which has the channels along axis 1, and changes the running
    statistics in place; this function returns new ones.

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization", 2016,
    https://arxiv.org/abs/1607.08022
    """
    input = as_floating("instance_norm", input)
    axis = channel_axis("instance_norm", input, axis)
    check_flags("instance_norm", use_input_stats=use_input_stats)
    check_number("instance_norm", "momentum", momentum)
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, eps=eps, axis=axis)
    check_range("instance_norm", "eps", eps, 0.0, open_low=True)
    named = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    running_mean, running_var, weight, bias = (
        as_vector("instance_norm", name, vector, input, axis) for name, vector in named.items()
    )
    positions = other_axes(input.ndim, 0, axis)
    count = math.prod(input.shape[position] for position in positions)
    if count < 2:
        raise ValueError(
            f"instance_norm: expected examples of more than one position, got an input of shape {input.shape} with the "
            f"channels along axis {axis}"
        )

    x = input.astype(at_least_float32(input.dtype))
    scale, shift = per_channel(weight, x, axis), per_channel(bias, x, axis)
    output, mean, variance = standardize(x, Over(positions), eps, scale=scale, bias=shift)
    return (
        output.astype(input.dtype),
        moved(running_mean, jnp.mean(mean, 0), momentum),
        moved(running_var, jnp.mean(variance, 0), momentum, count),
    )


class InstanceNorm(RunningNorm):
    """Normalize each channel of each example over its positions.

        y = (x - mean) / √(var + eps) · weight + bias

    With `track_running_stats`, evaluation uses running averages of the statistics (see `nn.instance_norm`).
    `model.train()` and `model.eval()` switch the mode, as does the attribute `use_running_average`.

    Args:
        num_features: number of channels.
        eps: added to the variance; at least 0, and above 0 with the statistics of the input. Default 1e-5.
        momentum: weight of a new batch in the running statistics; None stands for 0, as in PyTorch. Default 0.1.
        affine: whether to train a weight, starting at 1, and a bias, starting at 0. Default False.
        track_running_stats: whether to keep running statistics. Default False: evaluation also uses the statistics of
            the input.
        bias: whether an affine layer has a bias. Default True.
        axis: axis of the channels. Default -1; 1 is PyTorch's layout.
        param_dtype: dtype of parameters and running statistics. Default float32.
        rngs: accepted as in Flax, whose norms require them; nothing is drawn. Default None.

    Attributes:
        weight: parameter of shape (num_features,), or None.
        bias: parameter of shape (num_features,), or None.
        running_mean: `nnx.BatchStat` of shape (num_features,), or None.
        running_var: `nnx.BatchStat` of shape (num_features,), or None.
        num_batches_tracked: `nnx.BatchStat`, or None. As in PyTorch, it stays 0.

    Returns:
        When called with an array of at least three dimensions, the first of which counts examples: an array of the same
        shape and dtype. `use_running_average=` overrides the mode.

    Raises:
        TypeError: if the input is not floating-point, or num_features is not an integer.
        ValueError: if eps is negative, num_features is below 1, the input does not have `num_features` channels, or it
            has a single position.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.InstanceNorm(2, eps=1e-12)(jnp.array([[[0.0, 5.0], [2.0, 9.0]]])))
        [[[-1. -1.]
          [ 1.  1.]]]

    PyTorch: `torch.nn.InstanceNorm1d`, `InstanceNorm2d` and `InstanceNorm3d`. They also take an example without a batch
    axis; here the first axis always counts examples.

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization", 2016,
    https://arxiv.org/abs/1607.08022
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
        axis: int = -1,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs | None = None,
    ):
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, bias=bias, axis=axis, param_dtype=param_dtype
        )

    def _normalized(self, input: jax.Array, *vectors: jax.Array | None, training: bool) -> Normalized:
        momentum = 0.0 if self.momentum is None else self.momentum
        return instance_norm(input, *vectors, use_input_stats=training, momentum=momentum, eps=self.eps, axis=self.axis)
