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
        values: gradients of the rows, in the same order.
    """

    indices: Int[Array, " n"]
    values: Float[Array, "n *row"]

    @property
    def dtype(self) -> jnp.dtype:
        return jnp.result_type(self.values)

    def astype(self, dtype: DTypeLike) -> "SparseRows":
        return SparseRows(self.indices, self.values.astype(dtype))

    def __neg__(self) -> "SparseRows":
        return SparseRows(self.indices, -self.values)
