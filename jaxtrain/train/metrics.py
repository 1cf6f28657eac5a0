"""Metrics as sums and counts, so that averages over batches of different sizes are right."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Average:
    """An undivided average: a sum, and the number of its summands.

    Averages of batches are added before they are divided: the mean of the batches' means would give the examples of a
    smaller last batch more weight than the others.

    Attributes:
        total: the sum of the values.
        count: the number of values.

    Example:
        >>> from jaxtrain import train
        >>> full, last = train.Average(total=6.0, count=4), train.Average(total=0.0, count=1)
        >>> (full + last).value
        1.2

    PyTorch: the `total += loss.item() * len(x); count += len(x)` of a careful training script.
    """

    total: Array | float
    count: Array | float

    def __add__(self, other: Self) -> Self:
        return type(self)(self.total + other.total, self.count + other.count)

    def __float__(self) -> float:
        """`value` as a Python float; waits for the step that made it."""
        return float(self.value)

    @property
    def value(self) -> Array | float:
        """`total / count`; NaN where nothing was counted."""
        return self.total / self.count if isinstance(self.count, jax.Array) or self.count else math.nan


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
    return Average(_accumulated(metric.astype(jnp.result_type(metric, jnp.float32))) * rows, jnp.int32(rows))


def _accumulated(values: ArrayLike) -> Array:
    """`values` in a dtype that is wide enough for sums: bfloat16 would stop counting at 256, float16 at 2048."""
    values = jnp.asarray(values)
    floating = jnp.issubdtype(values.dtype, jnp.floating)
    return values.astype(jnp.promote_types(values.dtype, jnp.float32 if floating else jnp.int32))


def _leading_sizes(batch: PyTree) -> list[int]:
    """The different leading sizes of the arrays in a batch: one, its number of rows, if all is well."""
    return sorted({jnp.shape(leaf)[0] for leaf in jax.tree.leaves(batch) if jnp.ndim(leaf)})


class Totals:
    """Adds up the metrics of many steps on the host, without making the device wait for the host.

    Reading a number waits until the device has computed it. So the metrics of a dispatch are read only after the next
    is under way, a chunk of steps at once, or as soon as the last reading is `_PATIENCE` seconds ago.
    """

    _CHUNK = 16
    _PATIENCE = 0.25  # seconds

    def __init__(self, tell: Callable[[int, dict[str, float]], None] | None = None, first_step: int = 0) -> None:
        """`tell(step, metrics)` hears of every step, in order, as it is read; `steps` counts them."""
        self.steps = 0
        self._tell = tell
        self._first_step = first_step
        self._sums: dict[str, Average] = {}
        self._waiting: list[tuple[int | None, dict[str, Average]]] = []
        self._waiting_steps = 0
        self._last_read = time.monotonic()

    def add(self, metrics: dict[str, Average], steps: int | None = None) -> None:
        """Take the metrics of the dispatch that is under way, and read the metrics of earlier ones if they are due.

        Args:
            metrics: its averages.
            steps: None for one step. For a program of many steps their number, the leading axis of the metrics.
        """
        self._waiting.append((steps, metrics))
        self._waiting_steps += steps or 1
        if self._waiting_steps > self._CHUNK or time.monotonic() - self._last_read > self._PATIENCE:
            self._read(len(self._waiting) - 1)

    def averages(self) -> dict[str, float]:
        """The averages over the steps read so far."""
        # The dict that a compiled step returns has its keys sorted; a log should begin with the loss.
        loss_first = sorted(self._sums.items(), key=lambda item: item[0] != "loss")
        return {name: float(average) for name, average in loss_first}

    def finish(self) -> dict[str, float]:
        """The averages over all steps; waits for the last."""
        self._read(len(self._waiting))
        return self.averages()

    def _read(self, count: int) -> None:
        chunk, self._waiting = self._waiting[:count], self._waiting[count:]
        for steps, metrics in jax.device_get(chunk):
            columns = {name: _columns(name, average, steps) for name, average in metrics.items()}
            for name, (totals, counts) in columns.items():
                # Python's own numbers: sums in float64, whatever the dtype of the summands.
                self._sums[name] = self._sums.get(name, Average(0.0, 0)) + Average(sum(totals), sum(counts))
            for index in range(steps or 1):
                if self._tell:
                    values = {name: float(Average(t[index], c[index])) for name, (t, c) in columns.items()}
                    self._tell(self._first_step + self.steps, values)
                self.steps += 1
            self._waiting_steps -= steps or 1
        self._last_read = time.monotonic()


def _columns(name: str, average: Average, steps: int | None) -> tuple[list[float], list[float]]:
    """The totals and the counts of each step as Python numbers."""
    shape = () if steps is None else (steps,)
    if np.shape(average.total) != shape or np.shape(average.count) != shape:
        raise ValueError(
            f"metric {name}: expected an Average of two numbers, got a total of shape "
            f"{np.shape(average.total)[len(shape) :]} and a count of shape {np.shape(average.count)[len(shape) :]}; "
            "log each number under a name, or call the step yourself"
        )
    return np.ravel(average.total).tolist(), np.ravel(average.count).tolist()
