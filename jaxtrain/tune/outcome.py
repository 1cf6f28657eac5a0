"""The result of a sweep."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from jaxtrain._ground.checks import check_integer
from jaxtrain.train.state import TrainState
from jaxtrain.tune.plots import plot_outcome
from jaxtrain.tune.values import Values, value_of


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The runs of a sweep: their hyper-parameters, their entries, and which was best.

    Attributes:
        values: for each hyper-parameter one number for each run, (runs,).
        history: for each quantity one number for each run and epoch, (runs, epochs); NaN after a run was stopped.
        epochs: how many epochs each run was trained, (runs,).
        order: the numbers of the runs, the best first, (runs,); runs that were stopped come last.
        metric: the quantity that decides which run is best.
        mode: "min" or "max".

    Example:
        >>> import numpy as np
        >>> from flax import nnx
        >>> from jaxtrain import losses, optim, train, tune
        >>> def recipe(lr):
        ...     def loss_fn(model, x):
        ...         return losses.mse_loss(model(x), x)
        ...     return train.TrainState.create(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), optim.sgd(lr)), loss_fn
        >>> x = np.ones((8, 1), np.float32)
        >>> outcome = tune.sweep(recipe, {"lr": [0.0, 0.1]}, x, epochs=3, batch_size=8)
        >>> outcome.best_values, int(outcome.state(1).step)
        ({'lr': 0.1}, 3)

    PyTorch: none.
    """

    values: Values
    history: dict[str, np.ndarray]
    epochs: np.ndarray
    order: np.ndarray
    metric: str
    mode: str
    _state: Callable[[int], TrainState | None] = dataclasses.field(repr=False)

    @property
    def last(self) -> np.ndarray:
        """`metric` of each run after its last epoch, (runs,)."""
        return self._last[self.metric]

    @property
    def _last(self) -> dict[str, np.ndarray]:
        return last_entries(self.history, self.epochs)

    @property
    def diverged(self) -> list[int]:
        """The numbers of the runs that diverged: one of their entries is NaN or infinite."""
        ran = np.arange(next(iter(self.history.values())).shape[1]) < self.epochs[:, None]
        lost = np.any([ran & ~np.isfinite(entries) for entries in self.history.values()], axis=(0, 2))
        return np.flatnonzero(lost).tolist()

    @property
    def best(self) -> int:
        """The number of the best run that was not stopped.

        Raises:
            ValueError: if every run that was not stopped diverged: its loss or `metric` is NaN or infinite.
        """
        best = int(self.order[0])
        ends = {name: self._last[name][best] for name in ("loss", self.metric)}
        if not np.isfinite([*ends.values()]).all():
            shown = ", ".join(f"{name}={end:g}" for name, end in ends.items())
            raise ValueError(
                f"Outcome.best: expected a run that did not diverge, got {shown} for the best; try other values, "
                "smaller rates for instance"
            )
        return best

    @property
    def best_values(self) -> dict[str, float | int]:
        """The hyper-parameters of the best run, as Python numbers."""
        return value_of(self.values, self.best)

    def state(self, run: int | None = None) -> TrainState:
        """The state of a run after the last epoch.

        Args:
            run: its number. Default None: the best.

        Returns:
            The state, with which `evaluate` or `fit` can go on.

        Raises:
            TypeError: if the number is not an integer.
            ValueError: if there is no such run, or it was stopped before.
        """
        count = len(self.epochs)
        run = self.best if run is None else check_integer("Outcome.state", "run", run, -count, count - 1) % count
        state = self._state(run)
        if state is None:
            raise ValueError(
                f"Outcome.state: expected a run that was not stopped, got {run}, which was; choose from "
                f"{np.flatnonzero(self.epochs == self.epochs.max()).tolist()}"
            )
        return state

    def table(self, rows: int = 10) -> str:
        """The best runs as lines of text.

        Args:
            rows: the most runs to show, at least 1. Default 10.

        Returns:
            One line for each run: its hyper-parameters, its epochs, and its last entries.
        """
        check_integer("Outcome.table", "rows", rows, 1)
        heads = [*self.values, "epochs", *self.history]
        lines = [[head.rjust(12) for head in heads]]
        for run in self.order[:rows]:
            last = [entries[run] for entries in self._last.values()]
            cells = [*value_of(self.values, run).values(), self.epochs[run], *last]
            lines.append([f"{cell:12.5g}" for cell in cells])
        return "\n".join("  ".join(line) for line in lines)

    def plot(self, path: str | Path) -> None:
        """Draw `metric` against each hyper-parameter; runs that were stopped are pale, and crosses diverged.

        Args:
            path: the picture to write; its ending decides the format. Needs matplotlib, the extra `tune`.
        """
        stopped = self.epochs < self.epochs.max()
        # A network whose parameters are NaN still has an accuracy.
        results = np.where(np.isfinite(self._last["loss"]), self.last, np.nan)
        label = f"{self.metric} after the last epoch"
        plot_outcome(self.values, results, stopped, self.best, label, Path(path))


def last_entries(history: Mapping[str, np.ndarray], epochs: np.ndarray) -> dict[str, np.ndarray]:
    """For each quantity the entry of each run after its last epoch, (runs,).

    Args:
        history: for each quantity the entries, (runs, epochs).
        epochs: how many epochs each run was trained, (runs,).
    """
    return {name: entries[np.arange(len(epochs)), epochs - 1] for name, entries in history.items()}
