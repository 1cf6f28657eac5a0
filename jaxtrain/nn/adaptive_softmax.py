"""The adaptive softmax, for many classes with few frequent ones."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Integer

from jaxtrain._ground.arrays import as_array
from jaxtrain._ground.axes import pick
from jaxtrain._ground.checks import check_integer, check_range
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.nn._arrays import as_floating, check_dtypes, check_rngs
from jaxtrain.nn._named import named
from jaxtrain.nn.linear import Linear


class AdaptiveLogSoftmaxOutput(NamedTuple):
    """The log-probability of each example's target, and the mean negative log-likelihood."""

    output: Float[Array, "*batch"]
    loss: Float[Array, ""]


class AdaptiveLogSoftmaxWithLoss(nnx.Module):
    """A softmax over many classes in clusters, with smaller matrices for rarer clusters.

        log p(class) = log softmax(head)[class] in the shortlist
        log p(class) = log softmax(head)[cluster] + log softmax(tail of the cluster)[class] elsewhere

    The classes are sorted by frequency, the most frequent first. The head, a linear map of the input, has one entry for
    each class of the shortlist, the first `cutoffs[0]` classes, and one for each cluster. Cluster i = 1, 2, ... holds
    the classes from `cutoffs[i - 1]` up to the next cutoff, after a bottleneck of ⌊in_features / div_valueⁱ⌋ features.

    Args:
        in_features: length of the input's last axis.
        n_classes: number of classes.
        cutoffs: first class of each cluster, increasing, in [1, n_classes - 1].
        div_value: ratio of the bottlenecks of neighbouring clusters, above 0. Default 4.
        head_bias: whether the head has a bias. Default False.
        dtype: dtype of the computation. Default None: the promoted dtype of input and parameters.
        param_dtype: dtype of the parameters. Default float32.
        rngs: random streams; the parameters are drawn from `params`.

    Attributes:
        head: `nn.Linear` to the shortlist and the clusters.
        tail: for each cluster two `nn.Linear`, to the bottleneck and to the classes.

    Returns:
        When called with an input of shape (batch, in_features) and the classes of shape (batch,), or with one example
        and its class: `output`, the log-probability of each example's class, and `loss`, the mean of their negatives.
        Both are NaN for a class out of range, and so is the gradient of that example.

    Raises:
        TypeError: if the input is not floating-point, or the target does not hold integers.
        ValueError: if the cutoffs are not increasing or out of range, or the shapes do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.AdaptiveLogSoftmaxWithLoss(8, 1000, cutoffs=[10, 100], rngs=nnx.Rngs(0))
        >>> x = jnp.ones((4, 8))
        >>> print(layer(x, jnp.array([0, 9, 10, 999])).output.shape, layer.log_prob(x).shape)
        (4,) (4, 1000)

    PyTorch: `torch.nn.AdaptiveLogSoftmaxWithLoss`, which raises an error for a class out of range.

    Source: Grave, Joulin, Cissé, Grangier and Jégou, "Efficient Softmax Approximation for GPUs", 2017,
    https://arxiv.org/abs/1609.04309
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        where = type(self).__name__
        check_integer(where, "in_features", in_features, 1)
        check_integer(where, "n_classes", n_classes, 2)
        check_dtypes(where, param_dtype=param_dtype)
        check_rngs(where, rngs)
        check_range(where, "div_value", div_value, 0.0, open_low=True)
        bounds = [check_integer(where, "cutoffs", cutoff, 1, n_classes - 1) for cutoff in cutoffs]
        if not bounds or any(high <= low for low, high in pairwise(bounds)):
            raise ValueError(f"{where}: cutoffs must be increasing, at least one, got {list(cutoffs)}")
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = (*bounds, n_classes)

        def linear(sizes: tuple[int, int], bias: bool = False) -> Linear:
            return Linear(*sizes, bias=bias, dtype=dtype, param_dtype=param_dtype, rngs=rngs)

        clusters = list(pairwise(self.cutoffs))
        self.head = linear((in_features, bounds[0] + len(clusters)), head_bias)
        bottlenecks = [int(in_features // div_value**power) for power in range(1, len(clusters) + 1)]
        self.tail = nnx.List(
            nnx.List([linear((in_features, bottleneck)), linear((bottleneck, high - low))])
            for bottleneck, (low, high) in zip(bottlenecks, clusters, strict=True)
        )

    @named
    def __call__(
        self, input: Float[Array, "*batch in_features"], target: Integer[Array, "*batch"]
    ) -> AdaptiveLogSoftmaxOutput:
        input = as_floating(type(self).__name__, input)
        target = as_array(type(self).__name__, "target", target)
        if not jnp.issubdtype(target.dtype, jnp.integer):
            raise TypeError(f"{type(self).__name__}: target must hold classes as integers, got {target.dtype}")
        target = target.astype(int)  # A narrow dtype does not hold all classes.
        if input.shape != (*target.shape, self.in_features) or target.ndim > 1:
            raise ValueError(
                f"{type(self).__name__}: expected an input of shape (batch, {self.in_features}) and a target of shape "
                f"(batch,), or both without the batch axis, got {input.shape} and {target.shape}"
            )
        head = self._head_log_prob(input)
        output = _pick(head, target)
        for number, (low, high) in enumerate(pairwise(self.cutoffs)):
            within = _pick(self._tail_log_prob(input, number), target - low)
            output = jnp.where((target >= low) & (target < high), head[..., self.cutoffs[0] + number] + within, output)
        # Multiplied, not selected by `where`, so that the gradient is NaN as well.
        output *= jnp.where((target >= 0) & (target < self.n_classes), 1, jnp.nan)
        return AdaptiveLogSoftmaxOutput(output.astype(input.dtype), -jnp.mean(output).astype(input.dtype))

    @named
    def log_prob(self, input: Float[Array, "*batch in_features"]) -> Float[Array, "*batch n_classes"]:
        """The log-probability of every class.

        Args:
            input: array of shape (..., in_features).

        Returns:
            Array of shape (..., n_classes), in the input's dtype.
        """
        input = as_floating(type(self).__name__, input)
        head, shortlist = self._head_log_prob(input), self.cutoffs[0]
        clusters = [
            head[..., shortlist + number, None] + self._tail_log_prob(input, number) for number in range(len(self.tail))
        ]
        return jnp.concatenate([head[..., :shortlist], *clusters], axis=-1).astype(input.dtype)

    @named
    def predict(self, input: Float[Array, "*batch in_features"]) -> Integer[Array, "*batch"]:
        """The most probable class; the most probable of the shortlist if the head prefers it to every cluster.

        Args:
            input: array of shape (..., in_features).

        Returns:
            Array of integers, of shape (...).
        """
        favourite = jnp.argmax(self.head(input), axis=-1)
        return jnp.where(favourite < self.cutoffs[0], favourite, jnp.argmax(self.log_prob(input), axis=-1))

    def _head_log_prob(self, input: jax.Array) -> jax.Array:
        scores = self.head(input)
        return jax.nn.log_softmax(scores.astype(at_least_float32(scores.dtype)))

    def _tail_log_prob(self, input: jax.Array, number: int) -> jax.Array:
        to_bottleneck, to_classes = self.tail[number]
        scores = to_classes(to_bottleneck(input))
        return jax.nn.log_softmax(scores.astype(at_least_float32(scores.dtype)))


def _pick(values: jax.Array, index: jax.Array) -> jax.Array:
    """The value of each example at its index; an arbitrary value where the index is out of range."""
    return pick(values, jnp.clip(index, 0, values.shape[-1] - 1), -1)
