"""Progress of a run on the screen: a line for each epoch, and a bar below them."""

import time
from collections.abc import Mapping
from typing import Any

from jaxtrain.train.listeners.protocol import Listener, Run
from jaxtrain.train.state import TrainState


class Lines(Listener):
    """Prints a line for each epoch.

    PyTorch: none; scripts print.
    """

    def started(self, run: Run) -> None:
        self._run = run
        self._since = time.monotonic()

    def epoch_ended(self, epoch: int, entries: Mapping[str, float], state: TrainState) -> None:
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        self.print(f"epoch {epoch + 1}/{self._run.epochs.stop}  {_formatted(entries)}  {seconds:.1f}s")

    def print(self, line: str) -> None:
        """Print a line where progress is shown."""
        print(line, flush=True)


class Bar(Lines):
    """Prints a line for each epoch and moves a bar below; needs the package rich.

    PyTorch: none; scripts use tqdm.
    """

    _PATIENCE = 0.1  # seconds between two drawings

    def started(self, run: Run) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        super().started(run)
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            transient=True,
        )
        self._task = self._bar.add_task("", total=None)
        self._done, self._drawn = 0, -self._PATIENCE
        self._bar.start()

    def took_note(self, step: int, metrics: Mapping[str, list[float]]) -> bool:
        self._done += len(metrics["loss"])
        if time.monotonic() - self._drawn >= self._PATIENCE:
            self._draw(_formatted({name: values[-1] for name, values in metrics.items()}))
        return True

    def epoch_ended(self, epoch: int, entries: Mapping[str, float], state: TrainState) -> None:
        self._draw(None)
        super().epoch_ended(epoch, entries, state)

    def _draw(self, description: str | None) -> None:
        total = self._run.steps and len(self._run.epochs) * self._run.steps - self._run.begun.steps
        self._bar.update(self._task, completed=self._done, total=total, description=description)
        self._drawn = time.monotonic()

    def print(self, line: str) -> None:
        self._bar.console.print(line, highlight=False, soft_wrap=True)

    def ended(self, state: TrainState, error: BaseException | None) -> None:
        self._bar.stop()


def progress_listeners(progress: bool) -> list[Listener]:
    """The listeners that `fit(progress=...)` stands for."""
    if not isinstance(progress, bool):
        raise TypeError(
            f"fit: progress must be True or False, got {progress!r}; pass your own jaxtrain.train.Listener in listeners"
        )
    return [Bar() if _can_draw() else Lines()] if progress else []


def _can_draw() -> bool:
    """Whether rich is installed and there is a terminal or a notebook to draw on."""
    try:
        import rich
    except ImportError:
        return False
    console = rich.get_console()
    return console.is_terminal or console.is_jupyter


def _formatted(entries: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in entries.items() if name != "epoch")
