"""Metrics as sums and counts, so that averages over batches of different sizes are right."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
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

    @property
    def value(self) -> Array | float:
        """`total / count`; NaN where nothing was counted."""
        return self.total / self.count if isinstance(self.count, jax.Array) or self.count else math.nan


def as_average(name: str, metric: Any, batch: PyTree) -> Average:
    """Turn a metric that a user's function returned into an `Average`.

    Args:
        name: the name of the metric in errors.
        metric: an `Average`; or an array with one value for each example, which is summed and counted; or a scalar,
            which is taken as the mean over the rows of the batch.
        batch: the batch; a scalar is weighted by its number of rows.
    """
    if isinstance(metric, Average):
        return Average(_accumulated(metric.total), _accumulated(metric.count))
    metric = jnp.asarray(metric)
    if metric.ndim:
        return Average(jnp.sum(_accumulated(metric)), jnp.int32(metric.size))
    rows = _count_rows(name, batch)
    return Average(_accumulated(metric.astype(jnp.result_type(metric, jnp.float32))) * rows, jnp.int32(rows))


def _accumulated(values: ArrayLike) -> Array:
    """`values` in a dtype that is wide enough for sums: bfloat16 would stop counting at 256, float16 at 2048."""
    values = jnp.asarray(values)
    floating = jnp.issubdtype(values.dtype, jnp.floating)
    return values.astype(jnp.promote_types(values.dtype, jnp.float32 if floating else jnp.int32))


def _count_rows(name: str, batch: PyTree) -> int:
    sizes = {jnp.shape(leaf)[0] for leaf in jax.tree.leaves(batch) if jnp.ndim(leaf)}
    if len(sizes) != 1:
        raise ValueError(
            f"metric {name}: a scalar is weighted by the rows of its batch, but its arrays have the leading sizes "
            f"{sorted(sizes)}; return jaxtrain.train.Average(total, count) instead"
        )
    return sizes.pop()


class Totals:
    """Adds up the metrics of many steps on the host, without making the device wait for the host.

    Reading a number waits until the device has computed it. So the metrics of a step are read only after the next step
    is dispatched, a chunk of steps at once, or as soon as the last reading is `_PATIENCE` seconds ago.
    """

    _CHUNK = 16
    _PATIENCE = 0.25  # seconds

    def __init__(self, check: Callable[[int, dict[str, Average]], None] | None = None) -> None:
        """`check(index, metrics)` sees the metrics of every step, in order, as they are read; `steps` counts them."""
        self.steps = 0
        self._check = check
        self._sums: dict[str, Average] = {}
        self._waiting: list[dict[str, Average]] = []
        self._last_read = time.monotonic()

    def add(self, metrics: dict[str, Average]) -> None:
        """Take the metrics of the step just dispatched, and read the metrics of earlier steps if they are due."""
        self._waiting.append(metrics)
        if len(self._waiting) > self._CHUNK or time.monotonic() - self._last_read > self._PATIENCE:
            self._read(len(self._waiting) - 1)

    def averages(self) -> dict[str, float]:
        """The averages over the steps read so far."""
        # The dict that a compiled step returns has its keys sorted; a log should begin with the loss.
        loss_first = sorted(self._sums.items(), key=lambda item: item[0] != "loss")
        return {name: float(average.value) for name, average in loss_first}

    def finish(self) -> dict[str, float]:
        """The averages over all steps; waits for the last."""
        self._read(len(self._waiting))
        return self.averages()

    def _read(self, count: int) -> None:
        chunk, self._waiting = self._waiting[:count], self._waiting[count:]
        for metrics in jax.device_get(chunk):
            if self._check:
                self._check(self.steps, metrics)
            for name, average in metrics.items():
                # Python's own numbers: sums in float64, whatever the dtype of the summands.
                average = jax.tree.map(lambda number: number.item(), average)
                self._sums[name] = self._sums.get(name, Average(0.0, 0)) + average
            self.steps += 1
        self._last_read = time.monotonic()
