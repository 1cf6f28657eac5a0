"""Batches of arrays that fit in memory."""

import operator
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxtrain._ground.checks import check_flag, check_integer


class Batches:
    """Arrays cut into batches, in an order that depends only on the seed and the epoch.

    Rows are gathered on the host by NumPy and fed straight into the compiled step: outside `jit` that is several times
    faster than indexing an array on the device.

    Args:
        data: a pytree of NumPy or JAX arrays, `(images, labels)` for instance; row i of each belongs to example i.
        batch_size: rows in a batch, from 1 to the number of rows.
        shuffle: draw a new order every epoch. Default False.
        seed: seed of the shuffling, at least 0. Default 0.
        drop_last: leave out a smaller last batch. Default False.

    Raises:
        TypeError: if something in `data` is not an array of numbers, or a number is not an integer.
        ValueError: if there are no rows, the arrays differ in their number of rows, or a number is out of range.

    Example:
        >>> import numpy as np
        >>> from jaxtrain import train
        >>> batches = train.Batches((np.arange(5), np.arange(5) ** 2), batch_size=2, shuffle=True, seed=1)
        >>> len(batches), batches.rows
        (3, 5)
        >>> for x, y in batches.epoch(0):
        ...     print(x, y)
        [4 0] [16  0]
        [1 2] [1 4]
        [3] [9]

    PyTorch: `torch.utils.data.DataLoader(TensorDataset(x, y), batch_size, shuffle, drop_last=drop_last)`. Its order
    depends on all random numbers drawn before; this order can be reproduced for any epoch.
    """

    def __init__(
        self,
        data: PyTree,
        batch_size: int,
        shuffle: bool = False,
        *,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.data, self.rows = on_host("Batches: data", data)
        self.batch_size = check_integer("Batches", "batch_size", batch_size, 1, self.rows)
        check_flag("Batches", "shuffle", shuffle)
        check_flag("Batches", "drop_last", drop_last)
        self.shuffle = shuffle
        self.seed = check_integer("Batches", "seed", seed, 0)
        self.drop_last = drop_last

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return self.rows // self.batch_size if self.drop_last else -(-self.rows // self.batch_size)

    def epoch(self, epoch: int = 0, first: int = 0) -> Iterator[PyTree]:
        """Iterate over the batches of one epoch, each a pytree like `data`, from the batch number `first` on."""
        order = self.order(epoch) if self.shuffle else None
        for start in range(first * self.batch_size, len(self) * self.batch_size, self.batch_size):
            rows = slice(start, start + self.batch_size)
            yield jax.tree.map(operator.itemgetter(rows if order is None else order[rows]), self.data)

    def order(self, epoch: int) -> np.ndarray:
        """The rows in the order in which one epoch visits them, whole batches or not."""
        check_integer("Batches", "epoch", epoch, 0)
        if self.shuffle:
            return np.random.default_rng([self.seed, epoch]).permutation(self.rows)
        return np.arange(self.rows)


def on_host(where: str, data: PyTree) -> tuple[PyTree, int]:
    """The arrays of `data` on the host and their common number of rows; errors begin with `where`."""
    arrays = jax.tree.map(partial(_host_array, where), data, is_leaf=lambda leaf: leaf is None)
    shapes = [leaf.shape for leaf in jax.tree.leaves(arrays)]
    if not shapes or any(shape[:1] != shapes[0][:1] or not shape for shape in shapes):
        raise ValueError(f"{where}: expected arrays with the same number of rows, got shapes {shapes}")
    if shapes[0][0] == 0:
        raise ValueError(f"{where}: expected at least one row, got shapes {shapes}")
    return arrays, shapes[0][0]


def _host_array(where: str, leaf: Any) -> np.ndarray:
    """`leaf` on the host, in the dtype that JAX gives it, so that a step need not convert it."""
    if not isinstance(leaf, np.ndarray | jax.Array):
        raise TypeError(
            f"{where}: expected NumPy or JAX arrays, got {type(leaf).__name__}; call numpy.asarray on it, or leave out "
            "batch_size if it yields batches"
        )
    if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        raise TypeError(f"{where}: expected arrays of numbers, got dtype {leaf.dtype}")
    return as_numbers(where, np.asarray(leaf))


def as_numbers(where: str, array: np.ndarray) -> np.ndarray:
    """`array` in the dtype that JAX gives it; raise unless it holds numbers."""
    if not (jnp.issubdtype(array.dtype, jnp.number) or jnp.issubdtype(array.dtype, jnp.bool_)):
        raise TypeError(f"{where}: expected arrays of numbers, got dtype {array.dtype}")
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
