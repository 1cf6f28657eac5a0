"""The history that `fit` returns: averages and learning rates, epoch by epoch."""

from collections.abc import Iterator, Mapping

from jaxtrain.train.listeners.protocol import Listener
from jaxtrain.train.state import TrainState


class History(Mapping[str, list[float]], Listener):
    """A list by the name of each quantity that `fit` logged, with one entry an epoch.

    It is a read-only mapping: `dict(history)` is what `pandas.DataFrame` and `json.dump` take, and
    `plt.plot(history["epoch"], history["loss"])` plots it.

    Example:
        >>> from jaxtrain import train
        >>> history = train.History()
        >>> history.append({"epoch": 0, "loss": 2.5})
        >>> history.append({"epoch": 1, "loss": 1.5})
        >>> history["loss"], dict(history)
        ([2.5, 1.5], {'epoch': [0, 1], 'loss': [2.5, 1.5]})

    PyTorch: none; scripts append to lists of their own.
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {}

    def append(self, entries: Mapping[str, float]) -> None:
        """Add one epoch."""
        for name, value in entries.items():
            self._columns.setdefault(name, []).append(value)

    def epoch_ended(self, epoch: int, entries: Mapping[str, float], state: TrainState) -> None:
        """Add the epoch that is over."""
        self.append(entries)

    def __getitem__(self, name: str) -> list[float]:
        if name not in self._columns:
            raise KeyError(f"{name!r} was not logged; there is {', '.join(map(repr, self._columns)) or 'nothing'}")
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        """The number of quantities."""
        return len(self._columns)

    def __repr__(self) -> str:
        return f"History({self._columns})"
