"""The history as a file that is complete after every epoch."""

import csv
import io
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from jaxtrain.train._whole_file import replaced
from jaxtrain.train.listeners.protocol import Listener, Run
from jaxtrain.train.state import TrainState

_log = logging.getLogger("jaxtrain")


class CsvLog(Listener):
    """Writes the history as comma-separated values, a line for each epoch.

    The file is replaced as a whole after every epoch: it is never half written, and a resumed run has no line twice.

    Args:
        path: the file. Folders are made.

    Raises:
        ValueError: if there is a folder of that name, or its folder cannot be written to.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> state = train.TrainState.create(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), optax.sgd(0.5))
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.csv"
        >>> def loss_fn(model, x):
        ...     return model(x).mean()
        >>> x = np.zeros((4, 1), np.float32)
        >>> log = train.CsvLog(path)
        >>> _ = train.fit(state, loss_fn, x, epochs=2, batch_size=4, listeners=[log], progress=False)
        >>> print(path.read_text().strip())
        epoch,loss
        0,0.0
        1,-0.5

    PyTorch: none; scripts write their own.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).absolute()

    def started(self, run: Run) -> None:
        self._run = run
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.is_dir() or not os.access(self._path.parent, os.W_OK):
            raise ValueError(f"{type(self).__name__}: expected a file that can be written, got {self._path}")

    def epoch_ended(self, epoch: int, entries: Mapping[str, float], state: TrainState) -> None:
        columns = {name: list(column) for name, column in self._run.history.items()}
        try:
            with replaced(self._path) as draft:
                draft.write_text(self.text(columns))
        except OSError as error:  # The disk may be full: no reason to lose a run.
            _log.error("%s: %s could not be written (%s); the run goes on", type(self).__name__, self._path, error)

    def text(self, columns: Mapping[str, list[float]]) -> str:
        """The content of the file."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        return out.getvalue()


class JsonLinesLog(CsvLog):
    """Writes the history as JSON lines, an object for each epoch, in the manner of `CsvLog`.

    Args:
        path: the file. Folders are made.

    Raises:
        ValueError: if there is a folder of that name, or its folder cannot be written to.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> state = train.TrainState.create(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), optax.sgd(0.5))
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.jsonl"
        >>> def loss_fn(model, x):
        ...     return model(x).mean()
        >>> x = np.zeros((4, 1), np.float32)
        >>> log = train.JsonLinesLog(path)
        >>> _ = train.fit(state, loss_fn, x, epochs=2, batch_size=4, listeners=[log], progress=False)
        >>> print(path.read_text().strip())
        {"epoch": 0, "loss": 0.0}
        {"epoch": 1, "loss": -0.5}

    PyTorch: none; scripts write their own.
    """

    def text(self, columns: Mapping[str, list[float]]) -> str:
        rows = zip(*columns.values(), strict=True)
        return "".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows)
