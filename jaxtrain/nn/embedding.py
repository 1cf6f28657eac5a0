"""Tables of vectors, looked up by index."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Integer

from jaxtrain._ground.arrays import as_array
from jaxtrain._ground.axes import entries
from jaxtrain._ground.checks import check_integer, check_range
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.sharding import left_to_xla
from jaxtrain.nn import initializers
from jaxtrain.nn._arrays import as_floating, check_dtypes, check_flags, check_rngs, initialized
from jaxtrain.nn._named import named


def embedding(
    input: Integer[Array, "*shape"],
    weight: Float[Array, "num_embeddings embedding_dim"],
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
) -> Float[Array, "*shape embedding_dim"]:
    """Look up rows of a table.

        row = weight[input[i]]
        y[i] = row · max_norm / (‖row‖ + 1e-7) where ‖row‖ > max_norm, row elsewhere

    Args:
        input: indices, in [0, num_embeddings).
        weight: table of shape (num_embeddings, embedding_dim).
        padding_idx: index of the row that gets no gradient, counted from the end if negative. Default None: no such
            row.
        max_norm: largest norm of a returned row. Default None: no limit.
        norm_type: order of the norm, above 0; infinity for the largest magnitude. Default 2.
        scale_grad_by_freq: whether to divide the gradient of each row by the number of its look-ups. Default False.

    Returns:
        Array of shape (*input.shape, embedding_dim), in the table's dtype; NaN where an index is out of range.

    Raises:
        TypeError: if the input does not hold integers.
        ValueError: if the table does not have two axes, or padding_idx, max_norm or norm_type is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> table = jnp.array([[0.0, 1.0], [3.0, 4.0]])
        >>> print(nn.embedding(jnp.array([1, 0, 2]), table, max_norm=2.5))
        [[1.5 2. ]
         [0.  1. ]
         [nan nan]]

    PyTorch: `torch.nn.functional.embedding`, which raises an error for an index out of range and, with `max_norm`,
    shrinks the table itself. Here only the returned rows are shrunk, with the gradient that they would have if the
    table held them; `regularization.max_norm(max_norm, axis=0)` after the optimizer keeps the table itself within the
    limit. `sparse` is omitted: in JAX, gradients are dense.
    """
    return look_up("embedding", input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)


class Embedding(nnx.Module):
    """Look up rows of a trained table.

    The table starts normal with mean 0 and variance 1, except for zeros in the row of `padding_idx`.

    Args:
        num_embeddings: number of rows.
        embedding_dim: length of a row.
        padding_idx: index of the row that starts at zero and gets no gradient, counted from the end if negative.
            Default None: no such row.
        max_norm: largest norm of a returned row. Default None: no limit.
        norm_type: order of the norm, above 0; infinity for the largest magnitude. Default 2.
        scale_grad_by_freq: whether to divide the gradient of each row by the number of its look-ups in the batch.
            Default False.
        param_dtype: dtype of the table. Default float32.
        embedding_init: initializer of the table. Default None: as above.
        rngs: random streams; the table is drawn from `params`.

    Attributes:
        embedding: parameter of shape (num_embeddings, embedding_dim).

    Returns:
        When called with an array of indices in [0, num_embeddings): an array of shape (*input.shape, embedding_dim);
        NaN where an index is out of range.

    Raises:
        TypeError: if the input does not hold integers.
        ValueError: if a size, padding_idx, max_norm or norm_type is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.Embedding(10, 3, padding_idx=0, rngs=nnx.Rngs(0))
        >>> print(layer(jnp.array([[4, 7, 0, 0]])).shape, layer.embedding[0])
        (1, 4, 3) [0. 0. 0.]

    PyTorch: `torch.nn.Embedding`, whose `weight` is `embedding` here. It raises an error for an index out of range and,
    with `max_norm`, shrinks the table itself (see `nn.embedding`). `sparse` is omitted: in JAX, gradients are dense.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        *,
        param_dtype: DTypeLike = jnp.float32,
        embedding_init: Initializer | None = None,
        rngs: nnx.Rngs,
    ):
        where = type(self).__name__
        check_integer(where, "num_embeddings", num_embeddings, 1)
        check_integer(where, "embedding_dim", embedding_dim, 1)
        check_flags(where, scale_grad_by_freq=scale_grad_by_freq)
        check_dtypes(where, param_dtype=param_dtype)
        check_rngs(where, rngs)
        if max_norm is not None:
            check_range(where, "max_norm", max_norm, 0.0)
        check_range(where, "norm_type", norm_type, 0.0, open_low=True)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = _from_front(where, padding_idx, num_embeddings)
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq

        shape = (num_embeddings, embedding_dim)
        embedding_init = embedding_init or initializers.normal()
        table = initialized(where, "embedding_init", embedding_init, rngs, shape, param_dtype)
        if self.padding_idx is not None:
            table = table.at[self.padding_idx].set(0)
        self.embedding = nnx.Param(table)

    @named
    def __call__(self, input: Integer[Array, "*shape"]) -> Float[Array, "*shape embedding_dim"]:
        return embedding(
            input, self.embedding[...], self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq
        )


def look_up(
    where: str,
    input: Integer[Array, "*shape"],
    weight: Float[Array, "num_embeddings embedding_dim"],
    padding_idx: int | None,
    max_norm: float | None,
    norm_type: float,
    scale_grad_by_freq: bool,
) -> Float[Array, "*shape embedding_dim"]:
    """`embedding`; errors begin with `where`."""
    input, weight = as_array(where, "input", input), as_floating(where, weight, "weight")
    if not jnp.issubdtype(input.dtype, jnp.integer):
        raise TypeError(f"{where}: input must hold integers, got {input.dtype}")
    if weight.ndim != 2 or len(weight) == 0:
        raise ValueError(
            f"{where}: weight must have the shape (num_embeddings, embedding_dim) with at least one row, got "
            f"{weight.shape}"
        )
    num_embeddings = weight.shape[0]
    padding_idx = _from_front(where, padding_idx, num_embeddings)
    # A negative index would count from the end.
    index = jnp.where((input < 0) | (input >= num_embeddings), num_embeddings, input.astype(jnp.int32))
    rows = entries(weight, index, mode="fill", fill_value=jnp.nan)

    returned, share = rows, jnp.ones(index.shape, rows.dtype)
    if max_norm is not None:
        check_range(where, "max_norm", max_norm, 0.0)
        check_range(where, "norm_type", norm_type, 0.0, open_low=True)
        norm = jnp.linalg.norm(rows.astype(at_least_float32(rows.dtype)), norm_type, axis=-1, keepdims=True)
        scale = jnp.where(norm > max_norm, max_norm / (norm + 1e-7), 1)
        returned = (rows.astype(norm.dtype) * scale).astype(rows.dtype)
    if scale_grad_by_freq:
        look_ups = left_to_xla(lambda index: jnp.zeros(num_embeddings, jnp.int32).at[index].add(1, mode="drop"), index)
        share /= entries(look_ups, index, mode="fill", fill_value=1).astype(share.dtype)
    if padding_idx is not None:
        share = jnp.where(index == padding_idx, 0, share)
    return _with_gradient(rows, returned, share[..., None])


def _from_front(where: str, padding_idx: int | None, num_embeddings: int) -> int | None:
    """`padding_idx` counted from the front."""
    if padding_idx is None:
        return None
    return check_integer(where, "padding_idx", padding_idx, -num_embeddings, num_embeddings - 1) % num_embeddings


@jax.custom_jvp
def _with_gradient(rows: jax.Array, returned: jax.Array, share: jax.Array) -> jax.Array:
    """`returned`, with the gradient of `rows · share`."""
    return returned


@_with_gradient.defjvp
def _with_gradient_jvp(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    _, returned, share = primals
    return returned, tangents[0] * share
