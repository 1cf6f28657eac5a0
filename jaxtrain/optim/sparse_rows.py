"""The gradient of a table in which a step touches only a few rows."""

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int


class SparseRows(NamedTuple):
    """Gradient of an array in which only some rows have a gradient.

    Attributes:
        indices: places of the rows along the array's first axis, integers of any width; -1 marks an entry to ignore. An
            index that occurs twice means the sum of its rows.
        values: gradients of the rows, in the same order, of shape (n, ...).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> table, optimizer = jnp.zeros((4, 2)), optim.sparse_adam(0.1)
        >>> gradient = optim.SparseRows(indices=jnp.array([2, -1]), values=jnp.ones((2, 2)))
        >>> update, _ = optimizer.update(gradient, optimizer.init(table), table)
        >>> print(jnp.sign(update))
        [[ 0.  0.]
         [ 0.  0.]
         [-1. -1.]
         [ 0.  0.]]

    PyTorch: a sparse gradient in COO format, as `torch.nn.Embedding(..., sparse=True)` makes it.
    """

    indices: Int[Array, " n"]
    values: Float[Array, "n *row"]

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of `values`."""
        return jnp.result_type(self.values)

    def astype(self, dtype: DTypeLike) -> "SparseRows":
        """The same rows with `values` in another dtype."""
        return SparseRows(self.indices, self.values.astype(dtype))

    def __neg__(self) -> "SparseRows":
        return SparseRows(self.indices, -self.values)
