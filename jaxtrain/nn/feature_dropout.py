"""Dropout of whole channels."""

import jax
from flax import nnx
from jaxtyping import Array, Float

from jaxtrain._ground.axes import other_axes
from jaxtrain._ground.checks import check_scalar
from jaxtrain.nn._arrays import as_floating, channel_axis, check_flags
from jaxtrain.nn._random_layer import RandomLayer
from jaxtrain.nn.dropout import drop


def feature_dropout(
    input: Float[Array, "*shape"],
    p: float | jax.Array = 0.5,
    training: bool = True,
    *,
    axis: int = -1,
    key: jax.Array | None = None,
) -> Float[Array, "*shape"]:
    """Zero each channel with probability p, and scale the others to keep the mean.

        y = x / (1 - p) where the channel is kept, 0 where it is dropped

    The channels are drawn separately for each example.

    Args:
        input: array of at least two dimensions; the first counts the examples.
        p: probability of dropping a channel, in [0, 1]; it may be traced. Default 0.5.
        training: whether to drop channels; if not, the input is returned unchanged. Default True.
        axis: axis of the channels. Default -1; 1 is PyTorch's layout.
        key: random key; needed in training. Default None.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if p lies outside [0, 1], the input has fewer than two dimensions, or the key is missing in
            training.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.feature_dropout(jnp.ones((1, 3, 4)), p=0.5, key=jax.random.key(1)))
        [[[0. 2. 0. 0.]
          [0. 2. 0. 0.]
          [0. 2. 0. 0.]]]

    PyTorch: `torch.nn.functional.dropout1d`, `dropout2d` and `dropout3d`. The first and the last also take an example
    without a batch axis; here the first axis always counts examples.

    Source: Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015,
    https://arxiv.org/abs/1411.4280
    """
    input = as_floating("feature_dropout", input)
    check_scalar("feature_dropout", "p", p, 0.0, 1.0)
    check_flags("feature_dropout", training=training)
    shared = other_axes(input.ndim, 0, channel_axis("feature_dropout", input, axis))
    return drop("feature_dropout", input, p, key, shared) if training else input


class FeatureDropout(RandomLayer):
    """Zero each channel with probability p in training, and scale the others to keep the mean.

        y = x / (1 - p) where the channel is kept, 0 where it is dropped

    The channels are drawn separately for each example.

    `model.train()` and `model.eval()` switch it on and off, as does the attribute `deterministic`.

    Args:
        p: probability of dropping a channel, in [0, 1]. Default 0.5.
        axis: axis of the channels. Default -1; 1 is PyTorch's layout.
        rngs: random streams; the layer forks the stream `dropout`.

    Returns:
        When called with an array of at least two dimensions, the first of which counts examples: an array of the same
        shape and dtype. `deterministic=` overrides the mode.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if p lies outside [0, 1], or the input has fewer than two dimensions.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.FeatureDropout(0.5, rngs=nnx.Rngs(dropout=1))
        >>> print(layer(jnp.ones((1, 2, 5))))
        [[[2. 0. 2. 0. 0.]
          [2. 0. 2. 0. 0.]]]

    PyTorch: `torch.nn.Dropout1d`, `torch.nn.Dropout2d` and `torch.nn.Dropout3d`. The first and the last also take an
    example without a batch axis; here the first axis always counts examples.

    Source: Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015,
    https://arxiv.org/abs/1411.4280
    """

    def __init__(self, p: float | jax.Array = 0.5, *, axis: int = -1, rngs: nnx.Rngs | nnx.RngStream | None = None):
        super().__init__(p, rngs=rngs)
        self.axis = axis

    def _masked(self, input: jax.Array, *, training: bool, key: jax.Array | None) -> jax.Array:
        return feature_dropout(input, self.p, training, axis=self.axis, key=key)
