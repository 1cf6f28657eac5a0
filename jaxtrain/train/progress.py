"""Progress of a training run on the screen: the progress protocol and its three implementations."""

import time
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """The methods that `fit` calls to show its progress. Implement them to show it in your own way.

    Example:
        >>> from jaxtrain import train
        >>> class Dots:
        ...     def start(self, epochs, steps): print(f"{epochs} epochs of {steps} steps")
        ...     def advance(self, step, metrics): pass
        ...     def epoch(self, entries): print(".", end="")
        ...     def stop(self): print()
        >>> isinstance(Dots(), train.Progress)
        True

    PyTorch: none; scripts use tqdm.
    """

    def start(self, epochs: range, steps: int) -> None:
        """The run begins: the epochs ahead, with `steps` steps each."""

    def advance(self, step: int, metrics: Mapping[str, float]) -> None:
        """`step` steps of this epoch are done, with these averages. Called every few steps."""

    def epoch(self, entries: Mapping[str, float]) -> None:
        """An epoch is done; `entries` is what the history got."""

    def stop(self) -> None:
        """The run is over, possibly by an error."""


class NoProgress:
    """Shows nothing."""

    def start(self, epochs: range, steps: int) -> None: ...

    def advance(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def epoch(self, entries: Mapping[str, float]) -> None: ...

    def stop(self) -> None: ...


class Lines(NoProgress):
    """Prints a line for each epoch."""

    def start(self, epochs: range, steps: int) -> None:
        self._epochs = epochs
        self._since = time.monotonic()

    def epoch(self, entries: Mapping[str, float]) -> None:
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        self.print(f"epoch {entries['epoch'] + 1}/{self._epochs.stop}  {_formatted(entries)}  {seconds:.1f}s")

    def print(self, line: str) -> None:
        print(line, flush=True)


class Bar(Lines):
    """Prints a line for each epoch and moves a bar below; needs the package rich."""

    def start(self, epochs: range, steps: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        super().start(epochs, steps)
        self._steps = steps
        self._bar = RichProgress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            transient=True,
        )
        self._task = self._bar.add_task("", total=len(epochs) * steps)
        self._done = 0
        self._bar.start()

    def advance(self, step: int, metrics: Mapping[str, float]) -> None:
        self._bar.update(self._task, completed=self._done + step, description=_formatted(metrics))

    def epoch(self, entries: Mapping[str, float]) -> None:
        self._done += self._steps
        self._bar.update(self._task, completed=self._done)
        super().epoch(entries)

    def print(self, line: str) -> None:
        self._bar.console.print(line, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        self._bar.stop()


def chosen(progress: bool | Progress) -> Progress:
    """The `Progress` that `fit(progress=...)` stands for."""
    if isinstance(progress, bool):
        return (Bar() if _can_draw() else Lines()) if progress else NoProgress()
    if not isinstance(progress, Progress):
        raise TypeError(f"fit: progress must be True, False or a jaxtrain.train.Progress, got {progress!r}")
    return progress


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
