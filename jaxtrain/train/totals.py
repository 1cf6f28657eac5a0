"""Sums over the steps of an epoch, and when they are read."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping

import jax
import numpy as np

from jaxtrain.train._leaves import sent
from jaxtrain.train.metrics import Average


@dataclasses.dataclass(frozen=True)
class Partial:
    """The part of an epoch that is done.

    Attributes:
        steps: its steps.
        sums: the sums of their metrics by name.
    """

    steps: int = 0
    sums: Mapping[str, Average] = dataclasses.field(default_factory=dict)


class Totals:
    """Adds up the metrics of many steps on the host, without making the device wait for the host.

    Reading a number waits until the device has computed it. So the metrics of a dispatch are read only after the next
    is under way, a chunk of steps at once, or as soon as the last reading is `_PATIENCE` seconds ago.
    """

    _CHUNK = 16
    _PATIENCE = 0.25  # seconds

    def __init__(
        self,
        tell: Callable[[int, dict[str, list[float]]], None] | None = None,
        first_step: int = 0,
        begun: Partial | None = None,
    ) -> None:
        """Begin an epoch, or go on with it.

        Args:
            tell: `tell(step, metrics)` is called for steps as they are read: the first, and a list of values by metric.
            first_step: the number of the epoch's first step.
            begun: the part of the epoch that is done.
        """
        begun = begun or Partial()
        self.steps = begun.steps
        self._tell = tell
        self._first_step = first_step
        self._sums = dict(begun.sums)
        self._waiting: list[tuple[int | None, Mapping[str, Average]]] = []
        self._waiting_steps = 0
        self._last_read = -math.inf

    def add(self, metrics: Mapping[str, Average], steps: int | None = None) -> None:
        """Take the metrics of the dispatch that is under way, and read the metrics of earlier ones if they are due.

        Args:
            metrics: its averages.
            steps: None for one step. For a program of many steps their number, the leading axis of the metrics.
        """
        self._waiting.append((steps, sent(metrics)))
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

    @property
    def started(self) -> int:
        """The steps of the epoch whose metrics were read or are waiting to be read."""
        return self.steps + self._waiting_steps

    def partial(self) -> Partial:
        """What is done of the epoch; waits for the last step."""
        self._read(len(self._waiting))
        return Partial(self.steps, dict(self._sums))

    def _read(self, count: int) -> None:
        chunk, self._waiting = self._waiting[:count], self._waiting[count:]
        for steps, metrics in jax.device_get(chunk) if chunk else ():
            columns = {name: _columns(name, average, steps) for name, average in metrics.items()}
            for name, (totals, counts) in columns.items():
                # Python's own numbers: sums in float64, whatever the dtype of the summands.
                self._sums[name] = self._sums.get(name, Average(0.0, 0)) + Average(sum(totals), sum(counts))
            if self._tell:
                first = self._first_step + self.steps
                self._tell(first, {name: _divided(*column) for name, column in columns.items()})
            self.steps += steps or 1
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


def _divided(totals: list[float], counts: list[float]) -> list[float]:
    return [total / count if count else math.nan for total, count in zip(totals, counts, strict=True)]
