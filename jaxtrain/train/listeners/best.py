"""Which of two entries of the history is better."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from jaxtrain._ground.checks import check_choice


class Watched:
    """A quantity of the history, and whether more or less of it is better.

    Args:
        where: how errors begin.
        name: the name of the quantity.
        mode: "min" or "max"; None for names that end in "loss" or "accuracy".
    """

    def __init__(self, where: str, name: str, mode: Literal["min", "max"] | None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{where}: expected the name of an entry such as 'val_loss', got {name!r}")
        if mode is None:
            mode = "min" if name.endswith("loss") else "max" if name.endswith("accuracy") else None
        if mode is None:
            raise ValueError(f"{where}: expected mode='min' or mode='max' for {name!r}, got None; say which is better")
        check_choice(where, "mode", mode, ("min", "max"))
        self._where = where
        self.name = name
        self.mode = mode
        self.worst = math.inf if mode == "min" else -math.inf

    def read(self, entries: Mapping[str, float]) -> float:
        """The quantity of this epoch."""
        return float(self._logged(entries))

    def costs(self, entries: Mapping[str, np.ndarray]) -> np.ndarray:
        """The quantity of many runs, negated if more is better, so that the least is the best; NaN becomes infinite."""
        values = np.asarray(self._logged(entries), np.float64)
        return np.where(np.isnan(values), math.inf, values if self.mode == "min" else -values)

    def _logged(self, entries: Mapping[str, Any]) -> Any:
        if self.name not in entries:
            known = ", ".join(map(repr, entries))
            raise KeyError(f"{self._where}: expected one of {known}, got {self.name!r}; the run does not log it")
        return entries[self.name]

    def is_better(self, value: float, best: float) -> bool:
        """Whether a value is better than the best so far; NaN never is."""
        return value < best if self.mode == "min" else value > best
