"""The runs of a sweep, from the first epoch to the last."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxtrain.train.data import Batches
from jaxtrain.train.epochs import check_ends
from jaxtrain.train.listeners.best import Watched
from jaxtrain.train.metrics import Metrics
from jaxtrain.train.state import TrainState
from jaxtrain.tune.members import Members, Numbers, averages, chunks
from jaxtrain.tune.values import Values, value_of, weak

Entries = Mapping[str, np.ndarray]
"""For each quantity of an epoch, one number for each run."""
Kept = Callable[[int, Entries], np.ndarray]
"""A function of the epoch and its entries that returns which of the remaining runs go on, by position."""


def costs(watched: Watched, entries: Entries) -> np.ndarray:
    """The metric of each run, negated if more is better, so that the least is the best; infinite where it diverged.

    The loss tells that, too: a network whose parameters are NaN still has an accuracy.
    """
    found = watched.costs(entries)
    return np.where(np.isfinite(found) & np.isfinite(entries["loss"]), found, np.inf)


@dataclasses.dataclass
class _Group:
    """Runs that share a program. The last one may be repeated, so that each device gets equally many."""

    numbers: Numbers
    state: TrainState


class Runs:
    """The runs of a sweep in groups, each as large as a program may be.

    `remaining` has the numbers of the runs that go on, `epochs` how far each one came.

    Args:
        members: the programs.
        values: the traced hyper-parameters; a search over choices alone has none.
        count: the number of runs.
        at_once: the most runs in a program, None for all.
    """

    def __init__(self, members: Members, values: Values, count: int, at_once: int | None) -> None:
        self._members = members
        self._values = values
        self._count = count
        groups = 1 if at_once is None else -(-count // at_once)
        self._size = -(-count // groups)
        self.remaining = np.arange(count)
        self.epochs = np.zeros(count, int)
        self._groups = [self._started(rows) for rows in self._cut()]

    def fit(
        self, batches: Batches, validation: Batches | None, epochs: int, kept: Kept, *, together: int = 1
    ) -> dict[str, np.ndarray]:
        """Train all runs; return the entries of each run and epoch, (runs, epochs), NaN after a run was stopped.

        The epochs are computed `together` at a time, a divisor of their number, in one program; `kept` may stop runs
        after the last of these only.
        """
        check_ends(self._members.where, self._members.last_step, len(batches), epochs)
        data = self._members.placed(batches.data, each=False)
        held_out = None if validation is None else self._members.placed(validation.data, each=False)
        held_out_orders = [] if validation is None else chunks(validation, 0)
        history: dict[str, np.ndarray] = {}
        for first in range(0, epochs, together):
            block = range(first, first + together)
            orders = [np.stack(parts) for parts in zip(*(chunks(batches, epoch) for epoch in block), strict=True)]
            metrics = [self._advanced(group, data, orders, held_out, held_out_orders) for group in self._groups]
            self.epochs[self.remaining] += together
            entries = self._entries(metrics)
            for name, numbers in entries.items():
                whole = history.setdefault(name, np.full((self._count, epochs), np.nan))
                whole[self.remaining, block.start : block.stop] = numbers
            going_on = [
                kept(epoch, {name: numbers[:, position] for name, numbers in entries.items()})
                for position, epoch in enumerate(block)
            ]
            self._keep(going_on[-1])
            if not len(self.remaining):
                break
        return history

    def state(self, run: int) -> TrainState | None:
        """The state of one run on one device, None if it was stopped."""
        positions = np.flatnonzero(self.remaining == run)
        if not len(positions):
            return None
        arrays = jax.tree.map(lambda leaf: leaf[positions[0]], self._joined())
        on_one_device = jax.device_put(arrays, self._members.devices[0])
        return self._members.state(value_of(self._values, run), on_one_device)

    def _cut(self) -> np.ndarray:
        """The remaining runs, by position, in groups of one size: (groups, size)."""
        count = len(self.remaining)
        # Every new size costs a compilation: the group shrinks only when half of it is empty.
        while self._size > 1 and -(-self._size // 2) >= count:
            self._size = -(-self._size // 2)
        size = self._size + -self._size % len(self._members.devices)
        groups = -(-count // size)
        return np.minimum(np.arange(groups * size), count - 1).reshape(groups, size)

    def _started(self, positions: np.ndarray) -> _Group:
        numbers = self._numbers(positions)
        return _Group(numbers, self._members.start(self._members.placed(positions, each=True), numbers))

    def _numbers(self, positions: np.ndarray) -> Numbers:
        chosen = self.remaining[positions]
        return self._members.placed({name: weak(array[chosen]) for name, array in self._values.items()}, each=True)

    def _advanced(self, group: _Group, *data: PyTree) -> tuple[list[Metrics], list[Metrics]]:
        group.state, metrics = self._members.run(group.numbers, group.state, *data)
        return metrics

    def _entries(self, metrics: list[tuple[list[Metrics], list[Metrics]]]) -> dict[str, np.ndarray]:
        """The averages of the remaining runs over the steps of each epoch: (runs, epochs)."""
        found = []
        for trained, evaluated in metrics:
            validated = averages(evaluated) if evaluated else {}
            found.append(averages(trained) | {f"val_{name}": numbers for name, numbers in validated.items()})
        count = len(self.remaining)
        return {name: np.concatenate([group[name] for group in found])[:count] for name in found[0]}

    def _keep(self, positions: np.ndarray) -> None:
        """Go on with some of the remaining runs."""
        if len(positions) == len(self.remaining):
            return
        states = self._joined()
        self.remaining = self.remaining[positions]
        self._groups = []
        if not len(positions):
            return
        for rows in self._cut():
            part = jax.tree.map(lambda leaf, rows=rows: leaf[positions[rows]], states)
            self._groups.append(_Group(self._numbers(rows), self._members.placed(part, each=True)))

    def _joined(self) -> TrainState:
        """The states of all remaining runs, along a leading axis."""
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *(group.state for group in self._groups))
