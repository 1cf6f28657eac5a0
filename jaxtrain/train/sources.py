"""Where batches come from: arrays in memory, or anything that can be iterated again and again."""

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxtrain.train.data import Batches, as_numbers

Source = PyTree | Iterable[Any] | Callable[[int], Iterable[Any]]


def are_arrays(data: Any) -> bool:
    """Whether `data` is a pytree of arrays, as opposed to something that yields batches.

    A list or tuple counts as arrays if its first element is an array: a list of batches has tuples or dicts in it.
    """
    if isinstance(data, list | tuple):
        return bool(data) and _is_array(data[0])
    return isinstance(data, dict) or _is_array(data)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | jax.Array)


def steps_in_epoch(batches: "Batches | Stream") -> int | None:
    """Batches in an epoch, None if they are not counted yet."""
    return batches.steps if isinstance(batches, Stream) else len(batches)


class Stream:
    """Batches of anything that can be iterated again and again, their leaves as arrays that a compiled step takes.

    A step may read a batch long after the next one was drawn. So arrays are copied, unless they are elements of a list:
    what draws batches may fill the same memory with each.

    Args:
        where: how errors begin.
        source: an iterable that starts over each time, such as a list of batches, a torch `DataLoader`, a grain loader
            or a `tf.data.Dataset`; or a function that gets the number of the epoch and returns its batches.
    """

    def __init__(self, where: str, source: Any) -> None:
        if not callable(source) and not hasattr(source, "__iter__"):
            raise TypeError(
                f"{where}: expected arrays, an iterable of batches or a function that returns one, got "
                f"{type(source).__name__}"
            )
        if isinstance(source, Iterator):
            raise TypeError(
                f"{where}: expected batches that can be iterated again every epoch, got {type(source).__name__}, which "
                "gives them once; pass list(batches), or the function that makes it: lambda epoch: batches()"
            )
        self._where = where
        self._source: Any = source
        self._copies = not isinstance(source, list | tuple)
        self._length: int | None = len(source) if isinstance(source, Sized) else None

    @property
    def steps(self) -> int | None:
        """Batches in an epoch, None if they are not counted yet."""
        return self._length

    def epoch(self, epoch: int, first: int = 0) -> Iterator[PyTree]:
        """The batches of one epoch, from the batch number `first` on; those before it are drawn and left out."""
        count = 0
        batches: Any = self._source(epoch) if callable(self._source) else self._source
        if not hasattr(batches, "__iter__"):
            raise TypeError(
                f"{self._where}: expected a function that returns the batches of an epoch, got one that returns "
                f"{batches!r}; yield them"
            )
        for batch in batches:
            count += 1
            if count > first:
                yield jax.tree.map(self._array, batch)
        if count == 0:
            raise ValueError(f"{self._where}: expected at least one batch, got none in epoch {epoch}")
        self._length = count

    def _array(self, leaf: Any) -> np.ndarray | jax.Array:
        """An array that a step takes, of a NumPy or JAX array, a tensor of another package, or a number."""
        if isinstance(leaf, jax.Array):
            return leaf
        try:
            array = np.asarray(leaf)
        except (TypeError, RuntimeError):
            # Tensors on a device, with a gradient or in bfloat16, which NumPy does not know.
            leaf = leaf.detach() if hasattr(leaf, "detach") else leaf
            return jnp.from_dlpack(leaf.clone() if self._copies and hasattr(leaf, "clone") else leaf)
        numbers = as_numbers(self._where, array)
        return numbers.copy() if self._copies and numbers is array and array.flags.writeable else numbers
