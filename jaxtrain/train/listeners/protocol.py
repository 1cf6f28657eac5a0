"""The protocol of listeners: what a run tells them, and what they may return."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jaxtrain.train.state import TrainState
from jaxtrain.train.totals import Partial, Totals

if TYPE_CHECKING:
    from jaxtrain.train.listeners.history import History


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
    """The base class of everything that follows a run. Every method does nothing unless it is overridden.

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

    def tries_again(self, error: Exception) -> bool:
        """A loss that is not finite has ended the run. Return True if `fit` should begin again, told by `started`."""
        return False
