"""The history for TensorBoard and as a picture, and a profile of an epoch."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from jaxtrain._ground.checks import check_choice, check_flag, check_integer
from jaxtrain.train.listeners.protocol import Listener, Run
from jaxtrain.train.state import TrainState

_log = logging.getLogger("jaxtrain")


class TensorBoardLog(Listener):
    """Writes the history for TensorBoard. Needs tensorboardX: `pip install 'jaxtrain[tensorboard]'`.

    Args:
        folder: where the event files go; one folder for each run. A resumed run goes on in it.

    Raises:
        ImportError: if tensorboardX is not installed.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> state = train.TrainState.create(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), optax.sgd(0.5))
        >>> folder = tempfile.mkdtemp()
        >>> def loss_fn(model, x):
        ...     return model(x).mean()
        >>> log, x = train.TensorBoardLog(folder), np.zeros((4, 1), np.float32)
        >>> _ = train.fit(state, loss_fn, x, epochs=2, batch_size=4, listeners=[log], progress=False)
        >>> len(list(pathlib.Path(folder).glob("events*")))
        1

    PyTorch: `torch.utils.tensorboard.SummaryWriter(folder).add_scalar(name, value, epoch)`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "TensorBoardLog: expected tensorboardX, which is not installed; pip install 'jaxtrain[tensorboard]'"
            ) from error
        self._make, self._folder = SummaryWriter, str(Path(folder).absolute())

    def started(self, run: Run) -> None:
        # What an interrupted run wrote after its last checkpoint is written again. A thread writes, by default every
        # two minutes, and `flush` does not wait for what the thread has not taken yet.
        self._writer: Any = self._make(self._folder, purge_step=run.epochs.start, flush_secs=1)

    def epoch_ended(self, epoch: int, entries: Mapping[str, float], state: TrainState) -> None:
        for name, value in entries.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, epoch)

    def ended(self, state: TrainState, error: BaseException | None) -> None:
        self._writer.close()


class Curves(Listener):
    """Draws the history when the run ends: each quantity together with its "val_" counterpart. Needs Matplotlib.

    Args:
        path: the picture, "run.png" for instance. Folders are made.
        log_scale: draw losses and learning rates on logarithmic axes. Default True.

    Raises:
        ImportError: if Matplotlib is not installed.
        ValueError: if Matplotlib writes no pictures with that ending.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> state = train.TrainState.create(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), optax.sgd(0.5))
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.svg"
        >>> def loss_fn(model, x):
        ...     return (model(x) ** 2).mean()
        >>> x, curves = np.ones((4, 1), np.float32), train.Curves(path)
        >>> _ = train.fit(state, loss_fn, x, epochs=2, batch_size=2, listeners=[curves], progress=False)
        >>> path.exists()
        True

    PyTorch: none; scripts plot.
    """

    def __init__(self, path: str | os.PathLike[str], *, log_scale: bool = True) -> None:
        try:
            from matplotlib.backend_bases import FigureCanvasBase
        except ImportError as error:
            raise ImportError("Curves: expected Matplotlib, which is not installed; pip install matplotlib") from error
        self._path = Path(path).absolute()
        check_choice("Curves", "the ending of path", self._path.suffix[1:], FigureCanvasBase.get_supported_filetypes())
        check_flag("Curves", "log_scale", log_scale)
        self._log_scale = log_scale

    def started(self, run: Run) -> None:
        self._run = run

    def ended(self, state: TrainState, error: BaseException | None) -> None:
        history = dict(self._run.history)
        epochs = [epoch + 1 for epoch in history.pop("epoch", [])]
        names = [name for name in history if name.removeprefix("val_") == name or name[4:] not in history]
        if not epochs:
            return
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 2 + 2 * len(names)), layout="constrained")
        for axes, name in zip(figure.subplots(len(names), squeeze=False)[:, 0], names, strict=True):
            for column, color, label in ((name, "#17365c", "training"), (f"val_{name}", "#e4572e", "validation")):
                if column in history:
                    axes.plot(epochs, history[column], color=color, label=label)
            positive = min(value for column in (name, f"val_{name}") for value in history.get(column, [])) > 0
            if self._log_scale and positive and (name.endswith("loss") or name.split("/")[0] == "lr"):
                axes.set_yscale("log")
            axes.set_ylabel(name)
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
            if f"val_{name}" in history:
                axes.legend(frameon=False)
        figure.axes[-1].set_xlabel("epoch")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(self._path, dpi=130)
        except OSError as problem:  # No reason to lose a run.
            _log.error("Curves: %s could not be written (%s)", self._path, problem)


class Profile(Listener):
    """Profiles one epoch, for TensorBoard or https://ui.perfetto.dev.

    Args:
        folder: where the profile goes.
        epoch: which epoch, at least 1: the first one compiles. Default 1.

    PyTorch: `torch.profiler.profile`.
    """

    def __init__(self, folder: str | os.PathLike[str], epoch: int = 1) -> None:
        self._folder = str(Path(folder).absolute())
        self._epoch = check_integer("Profile", "epoch", epoch, 1)
        self._running = False

    def epoch_ended(self, epoch: int, entries: Mapping[str, float], state: TrainState) -> None:
        self._stop()
        if epoch + 1 == self._epoch:
            jax.profiler.start_trace(self._folder)
            self._running = True

    def ended(self, state: TrainState, error: BaseException | None) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
