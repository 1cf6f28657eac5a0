"""Dropout for self-normalizing networks, which keeps mean 0 and variance 1."""

from collections.abc import Collection

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxtrain._ground.axes import other_axes
from jaxtrain._ground.checks import check_scalar
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.float64 import as_float64, in_float64
from jaxtrain.nn._arrays import as_floating, channel_axis, check_flags
from jaxtrain.nn._masks import keep_mask
from jaxtrain.nn._random_layer import RandomLayer

SATURATION = -1.7580993408473766
"""The limit of SELU at minus infinity, -λα."""


def alpha_dropout(
    input: Float[Array, "*shape"],
    p: float | jax.Array = 0.5,
    training: bool = False,
    *,
    key: jax.Array | None = None,
) -> Float[Array, "*shape"]:
    """Set each element with probability p to the saturation of SELU, and restore mean 0 and variance 1.

        y = a·x + b where kept, a·s + b where dropped
        a = 1 / √((1 - p) · (1 + p·s²)), but 0 if p = 1
        b = -a·p·s
        s = -1.7580993408473766, the limit of SELU at minus infinity

    Args:
        input: array of any shape, with mean 0 and variance 1, as after SELU.
        p: probability of dropping an element, in [0, 1]; it may be traced. Default 0.5.
        training: whether to drop elements; if not, the input is returned unchanged. Default False.
        key: random key; needed in training. Default None.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if p lies outside [0, 1], or the key is missing in training.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.alpha_dropout(jnp.zeros(5), p=0.5, training=True, key=jax.random.key(0)))
        [ 0.77919394  0.77919394 -0.77919394 -0.77919394  0.77919394]

    PyTorch: `torch.nn.functional.alpha_dropout`, which leaves NaN where an infinity is dropped.

    Source: Klambauer et al., "Self-Normalizing Neural Networks", 2017, https://arxiv.org/abs/1706.02515
    """
    input = as_floating("alpha_dropout", input)
    check_scalar("alpha_dropout", "p", p, 0.0, 1.0)
    check_flags("alpha_dropout", training=training)
    return _saturate("alpha_dropout", input, p, key) if training else input


def feature_alpha_dropout(
    input: Float[Array, "*shape"],
    p: float | jax.Array = 0.5,
    training: bool = False,
    *,
    axis: int = -1,
    key: jax.Array | None = None,
) -> Float[Array, "*shape"]:
    """Set each channel with probability p to the saturation of SELU, and restore mean 0 and variance 1.

        y = a·x + b where the channel is kept, a·s + b where it is dropped
        a = 1 / √((1 - p) · (1 + p·s²)), but 0 if p = 1
        b = -a·p·s
        s = -1.7580993408473766, the limit of SELU at minus infinity

    The channels are drawn separately for each example.

    Args:
        input: array of at least two dimensions; the first counts the examples.
        p: probability of dropping a channel, in [0, 1]; it may be traced. Default 0.5.
        training: whether to drop channels; if not, the input is returned unchanged. Default False.
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
        >>> print(nn.feature_alpha_dropout(jnp.zeros((1, 2, 3)), p=0.2, training=True, key=jax.random.key(3)))
        [[[-1.2361598   0.30903995  0.30903995]
          [-1.2361598   0.30903995  0.30903995]]]

    PyTorch: `torch.nn.functional.feature_alpha_dropout`.

    Source: Klambauer et al., "Self-Normalizing Neural Networks", 2017, https://arxiv.org/abs/1706.02515
    """
    input = as_floating("feature_alpha_dropout", input)
    check_scalar("feature_alpha_dropout", "p", p, 0.0, 1.0)
    check_flags("feature_alpha_dropout", training=training)
    shared = other_axes(input.ndim, 0, channel_axis("feature_alpha_dropout", input, axis))
    return _saturate("feature_alpha_dropout", input, p, key, shared) if training else input


class AlphaDropout(RandomLayer):
    """Set each element with probability p to the saturation of SELU in training, and restore mean 0 and variance 1.

    `model.train()` and `model.eval()` switch it on and off, as does the attribute `deterministic`. `nn.alpha_dropout`
    gives the formula.

    Args:
        p: probability of dropping an element, in [0, 1]. Default 0.5.
        rngs: random streams; the layer forks the stream `dropout`.

    Returns:
        When called with an array: an array of the same shape and dtype. `deterministic=` overrides the mode.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if p lies outside [0, 1].

    Example:
        >>> import jax
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.AlphaDropout(0.1, rngs=nnx.Rngs(dropout=2))
        >>> x = jax.random.normal(jax.random.key(0), (100_000,))
        >>> print(f"{layer(x).mean():.2f} {layer(x).var():.2f}")
        0.00 1.00

    PyTorch: `torch.nn.AlphaDropout`.

    Source: Klambauer et al., "Self-Normalizing Neural Networks", 2017, https://arxiv.org/abs/1706.02515
    """

    def _masked(self, input: jax.Array, *, training: bool, key: jax.Array | None) -> jax.Array:
        return alpha_dropout(input, self.p, training, key=key)


class FeatureAlphaDropout(RandomLayer):
    """Set each channel with probability p to the saturation of SELU in training, and restore mean 0 and variance 1.

    `model.train()` and `model.eval()` switch it on and off, as does the attribute `deterministic`. The channels are
    drawn separately for each example. `nn.feature_alpha_dropout` gives the formula.

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
        >>> layer = nn.FeatureAlphaDropout(0.5, rngs=nnx.Rngs(dropout=0))
        >>> print(layer(jnp.zeros((1, 2, 4))))
        [[[ 0.77919394 -0.77919394 -0.77919394 -0.77919394]
          [ 0.77919394 -0.77919394 -0.77919394 -0.77919394]]]

    PyTorch: `torch.nn.FeatureAlphaDropout`.

    Source: Klambauer et al., "Self-Normalizing Neural Networks", 2017, https://arxiv.org/abs/1706.02515
    """

    def __init__(self, p: float | jax.Array = 0.5, *, axis: int = -1, rngs: nnx.Rngs | nnx.RngStream | None = None):
        super().__init__(p, rngs=rngs)
        self.axis = axis

    def _masked(self, input: jax.Array, *, training: bool, key: jax.Array | None) -> jax.Array:
        return feature_alpha_dropout(input, self.p, training, axis=self.axis, key=key)


def _saturate(
    where: str, input: jax.Array, p: float | jax.Array, key: jax.Array | None, shared: Collection[int] = ()
) -> jax.Array:
    """`input` with saturation under a mask drawn once along the axes `shared`, brought back to mean 0, variance 1."""
    dtype = at_least_float32(input.dtype)

    def coefficients(p: float | jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        p = as_float64(p)
        variance = (1 - p) * (1 + p * SATURATION**2)
        scale = jnp.where(p < 1, 1 / jnp.sqrt(jnp.where(p < 1, variance, 1)), 0)
        shift = -scale * p * SATURATION
        return scale, shift, scale * SATURATION + shift

    scale, shift, dropped = in_float64(coefficients, p, dtype=dtype)
    mask = keep_mask(where, key, p, input.shape, shared)
    return jnp.where(mask, input.astype(dtype) * scale + shift, dropped).astype(input.dtype)
