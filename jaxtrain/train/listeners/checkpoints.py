"""Checkpoints of a run, which can be killed at any moment and goes on where it was."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax

from jaxtrain._ground.checks import check_flag, check_integer, check_number
from jaxtrain.train._leaves import copied
from jaxtrain.train.interrupt import TERMINATED
from jaxtrain.train.listeners.best import Watched
from jaxtrain.train.listeners.checkpoint_files import FORMAT, FolderLock, check_epoch
from jaxtrain.train.listeners.checkpoint_store import Store
from jaxtrain.train.listeners.guard import not_finite
from jaxtrain.train.listeners.plateau import ReduceLROnPlateau
from jaxtrain.train.listeners.protocol import Listener, Run, StopRun
from jaxtrain.train.metrics import Average
from jaxtrain.train.rates import scale_learning_rates
from jaxtrain.train.state import TrainState
from jaxtrain.train.totals import Partial

_log = logging.getLogger("jaxtrain")
_ATTEMPTS = 3
"""How often a run goes back to the same checkpoint."""


class Checkpoints(Listener):
    """Saves the run after each epoch, and resumes it: the same call of `fit`, made again, goes on where it was.

    A checkpoint has the whole state (parameters, statistics, the optimizer's state, step, key), the history, and the
    memory of the other listeners. A resumed run ends with the same bits as an uninterrupted one. A checkpoint appears
    under its name when it is complete, and never otherwise. A checkpoint that cannot be written, on a full disk for
    instance, is an error in the log "jaxtrain", and the run goes on. Needs Orbax:
    `pip install 'jaxtrain[checkpoints]'`.

    Args:
        folder: where checkpoints are; one folder for each run. It is made.
        keep_last: how many of the last checkpoints to keep, at least 1. Default 2.
        keep_best: a quantity of the history, "val_loss" for instance, whose best checkpoint is kept as well. Default
            None.
        mode: "min" or "max". Default None: "min" for names that end in "loss", "max" for "accuracy".
        every: the epochs from one checkpoint to the next, at least 1; the last epoch is saved, too, and the one after
            which SIGTERM ends the run. Default 1.
        every_steps: save within epochs as well: at the end of the program in which so many steps, at least 1, have gone
            by since the last checkpoint, and after SIGTERM. Such a checkpoint knows the position in the data and the
            metrics so far; the last two are in the folder `within`. Default None: only after epochs.
        asynchronous: write while the next epoch runs. Default True.
        back_off: when the loss is NaN or infinite, go back to the last checkpoint, or to the beginning if there is
            none, and go on with the learning rate times this factor, between 0 and 1. The run ends after three such
            attempts without a new checkpoint. The optimizer must keep its rate where it can be set, see
            `set_learning_rate`. Default None: the run ends at once.

    Raises:
        ImportError: if Orbax is not installed.
        KeyError: if the run does not log `keep_best`.
        ValueError: if the checkpoint in the folder is damaged or does not fit the run: another network, optimizer or
            listeners; if another run uses the folder; or if `back_off` finds no rate that can be set, or a
            `ReduceLROnPlateau` that would set it again.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> folder, x = tempfile.mkdtemp(), np.ones((4, 1), np.float32)
        >>> def loss_fn(model, x):
        ...     return (model(x) ** 2).mean()
        >>> def run(epochs):
        ...     state = train.TrainState.create(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), optax.sgd(0.1))
        ...     saved = [train.Checkpoints(folder)]
        ...     return train.fit(state, loss_fn, x, epochs=epochs, batch_size=2, listeners=saved, progress=False)
        >>> _ = run(epochs=2)
        >>> state, history = run(epochs=3)
        >>> int(state.step), history["epoch"]
        (6, [0, 1, 2])

    PyTorch: `torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, path)`.
    """

    last = True

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        keep_last: int = 2,
        keep_best: str | None = None,
        mode: Literal["min", "max"] | None = None,
        every: int = 1,
        every_steps: int | None = None,
        asynchronous: bool = True,
        back_off: float | None = None,
    ) -> None:
        self._policies = _policies()
        self._folder = Path(folder).absolute()
        self._keep_last = check_integer("Checkpoints", "keep_last", keep_last, 1)
        self._best = None if keep_best is None else Watched("Checkpoints", keep_best, mode)
        self._every = check_integer("Checkpoints", "every", every, 1)
        if every_steps is not None:
            check_integer("Checkpoints", "every_steps", every_steps, 1)
        self._every_steps = every_steps
        check_flag("Checkpoints", "asynchronous", asynchronous)
        self._asynchronous = asynchronous
        if back_off is not None:
            check_number("Checkpoints", "back_off", back_off, 0.0, 1.0, open_low=True, open_high=True)
        self._back_off = back_off
        self._attempts = 0

    def started(self, run: Run) -> None:
        self._run = run
        self._lock = FolderLock(self._folder)
        try:
            self._open(run)
            self._slow_down(run)
        except BaseException:
            self._lock.release()
            raise
        self._saved = run.begun.steps
        self._unsaved: TrainState | None = None
        self._unsaved_epoch: tuple[int, TrainState, Mapping[str, float]] | None = None

    def _open(self, run: Run) -> None:
        """Open the folders, and go on from the checkpoint that is furthest."""
        self._epochs = Store(self._folder, self._policy(), self._asynchronous)
        done, listeners = self._epochs.latest, list(self._memories())
        self._within = None
        if self._every_steps is not None:
            self._within = Store(self._folder / "within", self._policies.LatestN(n=2), self._asynchronous)
            if (step := self._within.latest) is not None:
                about = self._within.about(step, listeners)
                if about["epoch"] >= (done or 0):
                    check_epoch(self._within.path(step), about["steps_in_epoch"], run.steps)
                    sums = {name: Average(*numbers) for name, numbers in about["sums"].items()}
                    self._resume(self._within, step, about["history"], about["epoch"], Partial(about["steps"], sums))
                    return
        if done is not None:
            self._resume(self._epochs, done, self._epochs.about(done, listeners)["history"], done, Partial())

    def _slow_down(self, run: Run) -> None:
        """Begin with a smaller rate after attempts that failed."""
        if self._back_off is None:
            return
        if any(isinstance(listener, ReduceLROnPlateau) for listener in run.listeners):
            raise ValueError(
                "Checkpoints: expected no ReduceLROnPlateau together with back_off, got one, which would set the rate "
                "again; use one of them"
            )
        run.state = scale_learning_rates("Checkpoints: back_off", run.state, self._back_off**self._attempts)

    def tries_again(self, error: Exception) -> bool:
        self._attempts += 1
        if self._back_off is None or self._attempts > _ATTEMPTS:
            self._attempts = 0
            return False
        _log.warning("Checkpoints: %s. Going back, attempt %d of %d", error, self._attempts, _ATTEMPTS)
        return True

    def dispatched(self, state: TrainState) -> None:
        self._unsaved_epoch = None
        if self._within is None or self._every_steps is None:
            return
        self._unsaved = state
        started = self._run.totals.started
        # The end of an epoch is saved after its validation.
        if started - self._saved >= self._every_steps and started != self._run.steps:
            self._save_within(self._within, state)

    def epoch_ended(self, epoch: int, entries: Mapping[str, float], state: TrainState) -> None:
        if self._best is not None:
            self._best.read(entries)
        is_last = self._run.stopping or epoch + 1 == self._run.epochs.stop
        if (epoch + 1) % self._every == 0 or is_last:
            self._save(self._epochs, epoch + 1, state, self._about(), entries)
            self._saved = 0
        else:
            self._saved -= self._run.totals.steps
            self._unsaved_epoch = epoch + 1, state, entries
        self._unsaved = None

    def ended(self, state: TrainState, error: BaseException | None) -> None:
        terminated = isinstance(error, SystemExit) and error.code == TERMINATED
        try:
            # Others may have put the best weights into `state`. The processes of a run may get the signal at two steps.
            if terminated and jax.process_count() == 1:
                if self._unsaved_epoch:
                    number, state, entries = self._unsaved_epoch
                    self._save(self._epochs, number, state, self._about(), entries)
                elif self._within and self._unsaved:
                    self._save_within(self._within, self._unsaved)
        finally:
            self._epochs.close()
            if self._within:
                self._within.close()
            self._lock.release()

    def _save_within(self, store: Store, state: TrainState) -> None:
        """Save the run at its last step, with the sums of the epoch so far."""
        part = self._run.totals.partial()
        if part.steps == self._saved:
            return
        sums = {name: [average.total, average.count] for name, average in part.sums.items()}
        position = {"epoch": self._run.epoch, "steps": part.steps, "sums": sums, "steps_in_epoch": self._run.steps}
        self._save(store, int(state.step), state, {**self._about(), **position})
        self._saved = part.steps

    def _save(
        self,
        store: Store,
        number: int,
        state: TrainState,
        about: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Save a state from which a run can go on."""
        if broken := not_finite(state):
            _log.error(
                "Checkpoints: %s is not written, for %s not finite; older checkpoints stay",
                store.path(number),
                f"the parameter {broken[0]} is" if len(broken) == 1 else f"{broken[0]} and other parameters are",
            )
            return
        store.save(number, self._arrays(state), about, metrics)
        self._attempts = 0

    def _policy(self) -> Any:
        """Which checkpoints stay."""
        best = self._best
        last = self._policies.LatestN(n=self._keep_last)
        if best is None:
            return last
        of_best = self._policies.BestN(
            get_metric_fn=lambda metrics: metrics[best.name], reverse=best.mode == "min", n=1
        )
        return self._policies.AnyPreservationPolicy([last, of_best])

    def _arrays(self, state: TrainState) -> Any:
        """A copy of what is saved as arrays: the next step consumes the state, while Orbax writes."""
        return copied({"state": state, "listeners": self._memories()})

    def _about(self) -> dict[str, Any]:
        """The rest of what is saved. The lists of the history are copies, for the next epoch adds to them."""
        history = {name: list(values) for name, values in self._run.history.items()}
        return {"format": FORMAT, "history": history, "listeners": list(self._memories())}

    def _resume(self, store: Store, number: int, history: Mapping[str, list[float]], done: int, begun: Partial) -> None:
        """Go on from a checkpoint, after `done` epochs and a part of the next."""
        run = self._run
        arrays = store.arrays(number, {"state": run.state, "listeners": self._memories()})
        run.state, run.begun = arrays["state"], begun
        for row in zip(*history.values(), strict=True):
            run.history.append(dict(zip(history, row, strict=True)))
        run.epochs = range(done, run.epochs.stop)
        for listener, memory in zip(self._with_memory(), arrays["listeners"].values(), strict=True):
            listener.memory = memory
            try:
                listener.resumed()
            except StopRun:
                run.epochs = range(run.epochs.stop, run.epochs.stop)

    def _with_memory(self) -> list[Listener]:
        return [listener for listener in self._run.listeners if jax.tree.leaves(listener.memory)]

    def _memories(self) -> dict[str, Any]:
        """What the listeners want kept, by place and class."""
        return {f"{i}-{type(one).__name__}": one.memory for i, one in enumerate(self._with_memory())}


def _policies() -> Any:
    """Orbax's rules for which checkpoints stay."""
    try:
        from orbax.checkpoint.checkpoint_managers import preservation_policy
    except ImportError as error:
        raise ImportError(
            "Checkpoints: expected Orbax, which is not installed; pip install 'jaxtrain[checkpoints]'"
        ) from error
    return preservation_policy
