"""Stop a run that no longer improves."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from jaxtrain._ground.checks import check_flag, check_integer
from jaxtrain.train._leaves import copied
from jaxtrain.train.listeners.best import Watched
from jaxtrain.train.listeners.protocol import Listener, Run, StopRun
from jaxtrain.train.state import TrainState


class EarlyStopping(Listener):
    """Stops a run when a quantity of the history has not improved for some epochs.

    Args:
        name: the quantity, "val_loss" for instance.
        patience: epochs without improvement before the run stops, at least 1.
        mode: "min" or "max". Default None: "min" for names that end in "loss", "max" for "accuracy".
        restore_best: return the parameters and statistics of the best epoch at the end of the run, stopped early or
            not. Default True.

    Raises:
        KeyError: if the run does not log the quantity.

    Example:
        >>> import numpy as np
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> state = train.TrainState.create(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), optax.sgd(2.0))
        >>> def loss_fn(model, x):
        ...     return (model(x) ** 2).mean()
        >>> x, stop = np.ones((4, 1), np.float32), train.EarlyStopping("val_loss", patience=2)
        >>> _, history = train.fit(
        ...     state, loss_fn, x, validation=x, epochs=9, batch_size=4, listeners=[stop], progress=False
        ... )
        >>> history["epoch"]
        [0, 1, 2]

    PyTorch: none; Lightning and Keras have it.
    """

    def __init__(
        self, name: str, *, patience: int, mode: Literal["min", "max"] | None = None, restore_best: bool = True
    ) -> None:
        self._watched = Watched("EarlyStopping", name, mode)
        self._patience = check_integer("EarlyStopping", "patience", patience, 1)
        check_flag("EarlyStopping", "restore_best", restore_best)
        self._restore_best = restore_best

    def started(self, run: Run) -> None:
        self._remember(self._watched.worst, 0, run.state)

    def resumed(self) -> None:
        if self.memory["waited"] >= self._patience:
            raise StopRun

    def epoch_ended(self, epoch: int, entries: Mapping[str, float], state: TrainState) -> None:
        value = float(np.float32(self._watched.read(entries)))  # As a checkpoint keeps the best.
        if self._watched.is_better(value, float(self.memory["best"])):
            self._remember(value, 0, state)
            return
        self.memory["waited"] = self.memory["waited"] + np.int32(1)
        if self.memory["waited"] >= self._patience:
            raise StopRun

    def ended(self, state: TrainState, error: BaseException | None) -> TrainState | None:
        if self._restore_best and np.isfinite(self.memory["best"]):
            return dataclasses.replace(state, **copied(self.memory["weights"]))
        return None

    def _remember(self, best: float, waited: int, state: TrainState) -> None:
        weights: dict[str, Any] = {}
        if self._restore_best:
            weights = copied({name: getattr(state, name) for name in ("params", "model_state", "average")})
        self.memory = {"best": np.asarray(best, np.float32), "waited": np.asarray(waited, np.int32), "weights": weights}
