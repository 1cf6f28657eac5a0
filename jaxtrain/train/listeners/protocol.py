"""What wants to know about a run listens to it."""

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from jaxtrain.train._leaves import committed
from jaxtrain.train.state import TrainState
from jaxtrain.train.totals import Partial, Totals

if TYPE_CHECKING:
    from jaxtrain.train.listeners.history import History

_log = logging.getLogger("jaxtrain")


class StopRun(Exception):
    """Raise it in a listener to end the run: `fit` then returns the state and the history as usual.

    PyTorch: none; the `break` of a training script.
    """


@dataclasses.dataclass
class Run:
    """What a listener sees of a run. The loop keeps it up to date.

    Attributes:
        epochs: the epochs of this call of `fit`.
        steps: steps in an epoch; None until the first epoch is over if the source does not tell its length.
        state: the state after the last step that was dispatched. The next step consumes it.
        epoch: the current epoch, counted from 0.
        history: what was logged so far.
        listeners: all listeners of the run.
        stopping: whether a listener has raised `StopRun`.
        begun: the part of the first epoch that an earlier call did, whose checkpoint this one goes on from.
        totals: the sums of the current epoch's metrics.

    PyTorch: none; the local variables of a training script.
    """

    epochs: range
    steps: int | None
    state: TrainState
    epoch: int
    history: "History"
    listeners: tuple["Listener", ...] = ()
    stopping: bool = False
    begun: Partial = dataclasses.field(default_factory=Partial)
    totals: Totals = dataclasses.field(default_factory=Totals)


class Listener:
    """The base class of everything that wants to know about a run. Every method does nothing unless it is overridden.

    Example:
        >>> import numpy as np
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> class Tracker(train.Listener):
        ...     def epoch_ended(self, epoch, entries, state):
        ...         print(epoch, sorted(entries))
        >>> state = train.TrainState.create(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), optax.sgd(0.1))
        >>> x = np.ones((4, 1), np.float32)
        >>> def loss_fn(model, x):
        ...     return model(x).mean()
        >>> state, _ = train.fit(state, loss_fn, x, epochs=2, batch_size=2, listeners=[Tracker()], progress=False)
        0 ['epoch', 'loss']
        1 ['epoch', 'loss']

    Attributes:
        memory: what a checkpoint keeps of this listener: a pytree of arrays, whose structure does not change after
            `started`. Default None: nothing.
        last: whether it is told after the others. Default False.

    PyTorch: none; Lightning and Keras call it a callback.
    """

    memory: Any = None
    last: bool = False

    def started(self, run: Run) -> None:
        """The run begins. A listener may keep `run`, and may change where it begins: `state`, `epochs`, `history`."""

    def resumed(self) -> None:
        """A checkpoint has given `memory` back. Raise `StopRun` if the run it comes from was over."""

    def stepped(self, step: int, metrics: Mapping[str, float]) -> None:
        """A step is done: its number (`state.step` before it) and its metrics.

        Called for every step, in order, but late: metrics are read when later steps are under way.
        """

    def took_note(self, step: int, metrics: Mapping[str, list[float]]) -> bool:
        """Several steps are done: the number of the first, and a list of values by metric.

        Return True if that is enough, False if `stepped` should be called for each. By default True for a listener
        that does not override `stepped`.
        """
        return type(self).stepped is Listener.stepped

    def dispatched(self, state: TrainState) -> None:
        """A program of one step or of many is under way. `state` comes out of it, and the next program consumes it."""

    def epoch_ended(self, epoch: int, entries: Mapping[str, float], state: TrainState) -> TrainState | None:
        """An epoch is done; `entries` is what the history got.

        Return a state to go on with, or None. The next step consumes `state`: copy what you keep. Raise `StopRun` to
        end the run.
        """

    def ended(self, state: TrainState, error: BaseException | None) -> TrainState | None:
        """The run is over. Always called.

        `error` is None if the run went well, a KeyboardInterrupt after Ctrl-C, or what ended the run. Return a state
        that `fit` should return, or None.
        """


class Listening:
    """A context in which listeners follow a run: they are told of its start and, whatever happens, of its end.

    `StopRun` and Ctrl-C end the context quietly; other errors carry on after every listener has been told.
    """

    def __init__(self, run: Run, listeners: Iterable[Listener]) -> None:
        self._run = run
        for listener in (given := list(listeners)):
            if not isinstance(listener, Listener):
                raise TypeError(f"fit: listeners must be jaxtrain.train.Listener objects, got {listener!r}")
        run.listeners = tuple(sorted(given, key=lambda listener: listener.last))
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
        """Tell of the end of the current epoch; every listener hears of it, even if one of them stops the run."""
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
        failure: Exception | None = None
        for listener in self._begun:
            try:
                self._run.state = _checked(listener, listener.ended(self._run.state, error), self._run.state)
            except Exception as raised:
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
