"""Call the listeners of a run."""

import logging
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from jaxtrain.train._leaves import committed
from jaxtrain.train.listeners.function import Hears, as_listener
from jaxtrain.train.listeners.protocol import Listener, Run, StopRun
from jaxtrain.train.state import TrainState

_log = logging.getLogger("jaxtrain")


class Listening:
    """A context in which listeners follow a run: they are told of its start and, whatever happens, of its end.

    `StopRun` and Ctrl-C end the context quietly; other errors carry on after every listener has been told.
    """

    def __init__(self, run: Run, listeners: Iterable[Hears]) -> None:
        self._run = run
        run.listeners = tuple(sorted(map(as_listener, listeners), key=lambda listener: listener.last))
        self._begun: list[Listener] = []
        self._watching = [one for one in run.listeners if type(one).dispatched is not Listener.dispatched]

    def __enter__(self) -> Self:
        try:
            for listener in self._run.listeners:
                listener.started(self._run)
                self._begun.append(listener)
        except BaseException as error:
            self._end(error)
            raise
        return self

    def stepped(self, step: int, metrics: Mapping[str, list[float]]) -> None:
        """Tell of many steps: the first, and a list of values by metric."""
        each = [one.stepped for one in self._run.listeners if not one.took_note(step, metrics)]
        # A call for each step would cost as much as the step of a small network.
        if each:
            for number, values in enumerate(zip(*metrics.values(), strict=True), step):
                for tell in each:
                    tell(number, dict(zip(metrics, values, strict=True)))

    def dispatched(self) -> None:
        """Tell of a program that is under way."""
        for listener in self._watching:
            listener.dispatched(self._run.state)

    def epoch_ended(self, entries: Mapping[str, float]) -> None:
        """Tell every listener of the end of the current epoch, even if one of them stops the run."""
        stop: StopRun | None = None
        for listener in self._run.listeners:
            try:
                state = listener.epoch_ended(self._run.epoch, entries, self._run.state)
            except StopRun as raised:
                stop, state, self._run.stopping = raised, None, True
            self._run.state = _checked(listener, state, self._run.state)
        if stop is not None:
            raise stop

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        stopped = isinstance(error, StopRun)
        self._end(None if stopped else error)
        if isinstance(error, KeyboardInterrupt):
            _log.warning(
                "fit: interrupted in epoch %d, after step %d; the state and the history so far are returned",
                self._run.epoch,
                int(self._run.state.step),
            )
        return stopped or isinstance(error, KeyboardInterrupt)

    def _end(self, error: BaseException | None) -> None:
        """Tell all that began, then raise what one of them raised."""
        failure: BaseException | None = None
        for listener in self._begun:
            try:
                self._run.state = _checked(listener, listener.ended(self._run.state, error), self._run.state)
            except BaseException as raised:  # Whoever presses Ctrl-C again does not want the folder to stay locked.
                failure = failure or raised
        if failure is not None:
            raise failure from error


def _checked(listener: Listener, new: Any, old: TrainState) -> TrainState:
    """The state that a listener returned, or the old one."""
    if new is None:
        return old
    if not isinstance(new, TrainState):
        raise TypeError(f"{type(listener).__name__}: expected a TrainState or None to be returned, got {new!r}")
    return committed(new)
