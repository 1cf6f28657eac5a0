"""Activations made of straight lines, and their smooth relatives: ReLU and what followed it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_flag, check_number
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.nn._arrays import as_floating
from jaxtrain.nn._elementwise import elementwise

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@elementwise
def relu(input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Set negative elements to zero.

        y = max(x, 0), with the derivative 0 at 0

    Args:
        input: array of any shape.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.relu(jnp.array([-1.0, 0.0, 2.0])))
        [0. 0. 2.]

    PyTorch: `torch.nn.functional.relu` and `torch.nn.ReLU`, which also take integers.
    """
    return jnp.where(input <= 0, 0, input)


@elementwise
def relu6(input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Confine each element to [0, 6].

        y = min(max(x, 0), 6), with the derivative 0 at 0 and 6

    Args:
        input: array of any shape.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.relu6(jnp.array([-1.0, 2.0, 8.0])))
        [0. 2. 6.]

    PyTorch: `torch.nn.functional.relu6` and `torch.nn.ReLU6`, which also take integers.

    Source: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017,
    https://arxiv.org/abs/1704.04861
    """
    return _confined(input, 0.0, 6.0)


@elementwise
def hardtanh(input: Float[Array, "*shape"], min_val: float = -1.0, max_val: float = 1.0) -> Float[Array, "*shape"]:
    """Confine each element to [min_val, max_val].

        y = min(max(x, min_val), max_val), with the derivative 0 at both ends

    Args:
        input: array of any shape.
        min_val: lower end. Default -1.
        max_val: upper end, at least `min_val`. Default 1.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if `max_val` is below `min_val`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.hardtanh(jnp.array([-3.0, 0.5, 3.0]), max_val=2.0))
        [-1.   0.5  2. ]

    PyTorch: `torch.nn.functional.hardtanh` and `torch.nn.Hardtanh`, which also take integers.
    """
    check_number("hardtanh", "min_val", min_val)
    check_number("hardtanh", "max_val", max_val, min_val)
    return _confined(input, min_val, max_val)


@elementwise
def threshold(input: Float[Array, "*shape"], threshold: float, value: float) -> Float[Array, "*shape"]:
    """Replace each element that is not above a threshold.

        y = x where x > threshold, value elsewhere

    Args:
        input: array of any shape.
        threshold: elements up to it are replaced.
        value: what they are replaced by.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.threshold(jnp.array([-1.0, 0.5, 2.0]), 0.5, 7.0))
        [7. 7. 2.]

    PyTorch: `torch.nn.functional.threshold` and `torch.nn.Threshold`, which also take integers.
    """
    check_number("threshold", "threshold", threshold)
    check_number("threshold", "value", value)
    return jnp.where(input <= threshold, value, input)


@elementwise
def leaky_relu(input: Float[Array, "*shape"], negative_slope: float = 0.01) -> Float[Array, "*shape"]:
    """Scale negative elements down.

        y = x where x > 0, negative_slope · x elsewhere

    Args:
        input: array of any shape.
        negative_slope: factor of elements up to 0; also the derivative at 0. Default 0.01.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.leaky_relu(jnp.array([-1.0, 2.0]), 0.25))
        [-0.25  2.  ]

    PyTorch: `torch.nn.functional.leaky_relu` and `torch.nn.LeakyReLU`.

    Source: Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", 2013,
    https://ai.stanford.edu/~amaas/papers/relu_hybrid_icml2013_final.pdf
    """
    check_number("leaky_relu", "negative_slope", negative_slope)
    return jnp.where(input > 0, input, input * negative_slope)


def rrelu(
    input: Float[Array, "*shape"],
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    *,
    key: jax.Array | None = None,
) -> Float[Array, "*shape"]:
    """Scale negative elements down, by random factors in training.

        y = x where x > 0, slope · x elsewhere

    In training the slope of each element is uniform in [lower, upper); otherwise it is (lower + upper) / 2.

    Args:
        input: array of any shape.
        lower: smallest slope. Default 1/8.
        upper: largest slope, at least `lower`. Default 1/3.
        training: whether to draw the slopes. Default False.
        key: random key; needed in training. Default None.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if `upper` is below `lower`, or the key is missing in training.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.rrelu(jnp.array([-1.0, 2.0]), 0.25, 0.75))
        [-0.5  2. ]

    PyTorch: `torch.nn.functional.rrelu` and `torch.nn.RReLU`. The two frameworks draw different slopes.

    Source: Xu, Wang, Chen and Li, "Empirical Evaluation of Rectified Activations in Convolutional Network", 2015,
    https://arxiv.org/abs/1505.00853
    """
    input = as_floating("rrelu", input)
    check_number("rrelu", "lower", lower)
    check_number("rrelu", "upper", upper, lower)
    check_flag("rrelu", "training", training)
    if not training:
        return leaky_relu(input, (lower + upper) / 2)
    if key is None:
        raise ValueError("rrelu: training draws slopes and needs a key, got None; pass key=jax.random.key(0)")
    x = input.astype(at_least_float32(input.dtype))
    slopes = jax.random.uniform(key, x.shape, x.dtype, lower, upper)
    return jnp.where(x > 0, x, x * slopes).astype(input.dtype)


@elementwise
def elu(input: Float[Array, "*shape"], alpha: float = 1.0) -> Float[Array, "*shape"]:
    """Let negative elements decay exponentially to -alpha.

        y = x where x > 0, alpha · (exp(x) - 1) elsewhere

    Args:
        input: array of any shape.
        alpha: negative of the limit; also the derivative at 0. Default 1.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.elu(jnp.array([-100.0, 2.0]), 0.5))
        [-0.5  2. ]

    PyTorch: `torch.nn.functional.elu` and `torch.nn.ELU`.

    Source: Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by Exponential Linear Units
    (ELUs)", 2015, https://arxiv.org/abs/1511.07289
    """
    check_number("elu", "alpha", alpha)
    return _exponential_below_zero(input, alpha)


@elementwise
def celu(input: Float[Array, "*shape"], alpha: float = 1.0) -> Float[Array, "*shape"]:
    """Let negative elements decay exponentially to -alpha, with the derivative 1 at 0 for any alpha.

        y = x where x > 0, alpha · (exp(x / alpha) - 1) elsewhere

    Args:
        input: array of any shape.
        alpha: negative of the limit, not 0. Default 1.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if alpha is 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.celu(jnp.array([-100.0, 2.0]), 0.5))
        [-0.5  2. ]

    PyTorch: `torch.nn.functional.celu` and `torch.nn.CELU`.

    Source: Barron, "Continuously Differentiable Exponential Linear Units", 2017, https://arxiv.org/abs/1704.07483
    """
    check_number("celu", "alpha", alpha)
    if isinstance(alpha, int | float) and alpha == 0:
        raise ValueError("celu: alpha must not be 0, as the input is divided by it; for its limit, use relu")
    return _exponential_below_zero(input, alpha, 1 / alpha)


@elementwise
def selu(input: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Scale an ELU such that activations keep mean 0 and variance 1 from layer to layer.

        y = 1.0507… · x where x > 0, 1.0507… · 1.6732… · (exp(x) - 1) elsewhere

    Args:
        input: array of any shape.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.selu(jnp.array([-100.0, 2.0])))
        [-1.7580993  2.101402 ]

    PyTorch: `torch.nn.functional.selu` and `torch.nn.SELU`.

    Source: Klambauer, Unterthiner, Mayr and Hochreiter, "Self-Normalizing Neural Networks", 2017,
    https://arxiv.org/abs/1706.02515
    """
    return SELU_SCALE * _exponential_below_zero(input, SELU_ALPHA)


def _confined(x: jax.Array, low: float, high: float) -> jax.Array:
    """`x` in [low, high], with the derivative 0 at the ends, where `jnp.clip` would share it out."""
    return jnp.where(x <= low, low, jnp.where(x >= high, high, x))


def _exponential_below_zero(x: jax.Array, alpha: float, rate: float = 1.0) -> jax.Array:
    """`x` above 0, alpha · (exp(rate · x) - 1) elsewhere; large elements do not overflow there."""
    return jnp.where(x > 0, x, alpha * _expm1(rate * jnp.where(x > 0, 0, x)))


@jax.custom_jvp
def _expm1(x: jax.Array) -> jax.Array:
    """`jnp.expm1`, whose own derivative, expm1(x) + 1, has lost the digits of exp(x) where that is small."""
    return jnp.expm1(x)


@_expm1.defjvp
def _expm1_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    [x] = primals
    return _expm1(x), tangents[0] * jnp.exp(x)
