"""Metrics as sums and counts, so that averages over batches of different sizes are right."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree


class Packed(NamedTuple):
    """A number inside an array of a step's metrics.

    Attributes:
        array: the array, on the device.
        index: where the number is in the last axis; None if it is the whole array.
    """

    array: Array
    index: int | None

    def cut(self) -> Array:
        """The number alone."""
        return self.array if self.index is None else self.array[..., self.index]

    def read(self) -> np.ndarray:
        """The number on the host, without a program that cuts it out; waits for the step that made it."""
        array = np.asarray(self.array)
        return array if self.index is None else array[..., self.index]


@jax.tree_util.register_pytree_node_class
class Average:
    """An undivided average: a sum, and the number of its summands.

    Averages of batches are added before they are divided: the mean of the batches' means would give the examples of a
    smaller last batch more weight than the others.

    Args:
        total: the sum of the values.
        count: the number of values.

    Example:
        >>> from jaxtrain import train
        >>> full, last = train.Average(total=6.0, count=4), train.Average(total=0.0, count=1)
        >>> (full + last).value
        1.2

    PyTorch: the `total += loss.item() * len(x); count += len(x)` of a careful training script.
    """

    def __init__(self, total: Array | float | Packed, count: Array | float | Packed) -> None:
        self._total = total
        self._count = count

    @property
    def total(self) -> Array | float:
        """The sum of the values."""
        return self._total.cut() if isinstance(self._total, Packed) else self._total

    @property
    def count(self) -> Array | float:
        """The number of values."""
        return self._count.cut() if isinstance(self._count, Packed) else self._count

    @property
    def value(self) -> Array | float:
        """`total / count`; NaN where nothing was counted."""
        total, count = self.total, self.count
        if isinstance(count, jax.Array):
            return _quotient(jnp.asarray(total), count)
        return total / count if count else math.nan

    def __float__(self) -> float:
        """`value` as a Python float; waits for the step that made it."""
        if isinstance(self._total, Packed) and isinstance(self._count, Packed):
            # Programs that cut two numbers out and divide them would take longer than reading everything.
            with np.errstate(invalid="ignore", divide="ignore"):
                return float(_quotient(self._total.read(), self._count.read()))
        return float(self.value)

    def __add__(self, other: "Average") -> "Average":
        return Average(self.total + other.total, self.count + other.count)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Average):
            return NotImplemented
        return (self.total, self.count) == (other.total, other.count)

    def __repr__(self) -> str:
        return f"Average(total={self.total!r}, count={self.count!r})"

    def tree_flatten(self) -> tuple[tuple[Array | float, Array | float], None]:
        """The two numbers."""
        return (self.total, self.count), None

    @classmethod
    def tree_unflatten(cls, _: None, children: tuple[Any, Any]) -> Self:
        """The inverse of `tree_flatten`."""
        return cls(*children)


def _quotient(total: Any, count: Any) -> Any:
    """The quotient of two arrays, of NumPy or of JAX, in the dtype of the total; float32 for integers."""
    dtype = total.dtype if jnp.issubdtype(total.dtype, jnp.inexact) else jnp.float32
    return total.astype(dtype) / count.astype(dtype)


def as_average(name: str, metric: Any, batch: PyTree) -> Average:
    """Turn a metric that a user's function returned into an `Average`.

    Args:
        name: the name of the metric in errors.
        metric: an `Average`; or an array with one value for each example (or several), which is summed and counted; or
            a scalar, which is taken as the mean over the rows of the batch.
        batch: the batch; a scalar is weighted by its number of rows.

    Raises:
        ValueError: if a scalar has no single number of rows for its weight, or the size of an array is not a multiple
            of that number: such an array has no value for each example.
    """
    if isinstance(metric, Average):
        return Average(_accumulated(metric.total), _accumulated(metric.count))
    metric = jnp.asarray(metric)
    sizes = _leading_sizes(batch)
    if metric.ndim:
        if len(sizes) == 1 and metric.size % max(sizes[0], 1):
            raise ValueError(
                f"metric {name}: expected a scalar or one value for each of the {sizes[0]} rows, got shape "
                f"{metric.shape}; give each number a name, or return jaxtrain.train.Average(total, count)"
            )
        return Average(jnp.sum(_accumulated(metric)), jnp.int32(metric.size))
    if len(sizes) != 1:
        raise ValueError(
            f"metric {name}: a scalar is weighted by the rows of its batch, but its arrays have the leading sizes "
            f"{sizes}; return jaxtrain.train.Average(total, count) instead"
        )
    (rows,) = sizes
    if not jnp.issubdtype(metric.dtype, jnp.floating):
        metric = metric.astype(jnp.float32)
    return Average(_accumulated(metric) * rows, jnp.int32(rows))


def _accumulated(values: ArrayLike) -> Array:
    """`values` in a dtype that is wide enough for sums: bfloat16 would stop counting at 256, float16 at 2048."""
    values = jnp.asarray(values)
    if values.dtype.itemsize >= 4:
        return values
    return values.astype(jnp.float32 if jnp.issubdtype(values.dtype, jnp.floating) else jnp.int32)


def _leading_sizes(batch: PyTree) -> list[int]:
    """The different leading sizes of the arrays in a batch: one, its number of rows, if all is well."""
    return sorted({jnp.shape(leaf)[0] for leaf in jax.tree.leaves(batch) if jnp.ndim(leaf)})


Place = tuple[int, int | None]
"""Where a number is: which array, and the index as in `Packed`."""
Places = tuple[tuple[str, Place, Place], ...]
"""Each metric's name, and where its total and its count are."""


class Metrics(Mapping[str, Average]):
    """The averages of a step by name, with all numbers of a dtype in one array: each array is a transfer to the host.

    The arrays are the leaves: a scan stacks them, and averages of equal names can be added by `jax.tree.map`.
    """

    __slots__ = ("_arrays", "_places")

    def __init__(self, places: Places, arrays: Sequence[Array]) -> None:
        self._places = places
        self._arrays = arrays

    @classmethod
    def of(cls, averages: Mapping[str, Average]) -> Self:
        """Pack averages, inside a program. Totals that are not scalars keep arrays of their own."""
        groups: dict[str, list[Array]] = {}

        def place(name: str, number: Any) -> Place:
            number = jnp.asarray(number)
            key = name if number.ndim else number.dtype.name
            group = groups.setdefault(key, [])
            group.append(number)
            return list(groups).index(key), None if number.ndim else len(group) - 1

        places = tuple(
            (name, place(f"total of {name}", average.total), place(f"count of {name}", average.count))
            for name, average in sorted(averages.items())
        )
        return cls(places, tuple(group[0] if group[0].ndim else jnp.stack(group) for group in groups.values()))

    def __getitem__(self, name: str) -> Average:
        for known, *places in self._places:
            if known == name:
                return Average(*(Packed(self._arrays[array], index) for array, index in places))
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, *_ in self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"Metrics({dict(self)})"


# A step makes and unmakes them: a dict of arrays, or another function in between, would cost microseconds.
jax.tree_util.register_pytree_node(Metrics, lambda metrics: (metrics._arrays, metrics._places), Metrics)
