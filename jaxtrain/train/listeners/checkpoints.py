"""A run that can be killed at any moment and goes on where it was."""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import jax

from jaxtrain._ground.checks import check_flag, check_integer
from jaxtrain.train._leaves import copied
from jaxtrain.train.listeners.best import Watched
from jaxtrain.train.listeners.checkpoint_files import FORMAT, FolderLock, check_about, check_shapes, reading
from jaxtrain.train.listeners.protocol import Listener, Run, StopRun
from jaxtrain.train.state import TrainState

_log = logging.getLogger("jaxtrain")


class Checkpoints(Listener):
    """Saves the run after each epoch, and resumes it: the same call of `fit`, made again, goes on after the last epoch.

    A checkpoint has the whole state (parameters, statistics, the optimizer's state, step, key), the history, and the
    memory of the other listeners. A resumed run ends with the same bits as an uninterrupted one. A checkpoint appears
    under its name when it is complete, and never otherwise. A checkpoint that cannot be written, on a full disk for
    instance, is an error in the log "jaxtrain", and the run goes on. Needs Orbax: `pip install jaxtrain[checkpoints]`.

    Args:
        folder: where checkpoints are; one folder for each run. It is made.
        keep_last: how many of the last checkpoints to keep, at least 1. Default 2.
        keep_best: a quantity of the history, "val_loss" for instance, whose best checkpoint is kept as well. Default
            None.
        mode: "min" or "max". Default None: "min" for names that end in "loss", "max" for "accuracy".
        every: save after every so many epochs, at least 1, and after the last. Default 1.
        asynchronous: write while the next epoch runs. Default True.

    Raises:
        ImportError: if Orbax is not installed.
        KeyError: if the run does not log `keep_best`.
        ValueError: if the checkpoint in the folder is damaged or does not fit the run: another network, optimizer or
            listeners; or if another run uses the folder.

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
        asynchronous: bool = True,
    ) -> None:
        self._orbax = _orbax()
        self._folder = Path(folder).absolute()
        self._keep_last = check_integer("Checkpoints", "keep_last", keep_last, 1)
        self._best = None if keep_best is None else Watched("Checkpoints", keep_best, mode)
        self._every = check_integer("Checkpoints", "every", every, 1)
        check_flag("Checkpoints", "asynchronous", asynchronous)
        self._asynchronous = asynchronous
        self._last = 0

    def started(self, run: Run) -> None:
        self._run = run
        self._lock = FolderLock(self._folder)
        try:
            self._open(run)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, run: Run) -> None:
        self._manager = self._orbax.CheckpointManager(
            self._folder,
            item_handlers={
                "arrays": self._orbax.StandardCheckpointHandler(),
                "about": self._orbax.JsonCheckpointHandler(),
            },
            options=self._orbax.CheckpointManagerOptions(
                create=True,
                cleanup_tmp_directories=True,
                enable_async_checkpointing=self._asynchronous,
                preservation_policy=self._policy(),
            ),
        )
        done = self._manager.latest_step()
        if done is not None:
            self._resume(run, done)

    def epoch_ended(self, epoch: int, entries: Mapping[str, float], state: TrainState) -> None:
        if self._best is not None:
            self._best.read(entries)
        is_last = self._run.stopping or epoch + 1 == self._run.epochs.stop
        if (epoch + 1) % self._every == 0 or is_last:
            self._save(epoch + 1, entries, state)

    def ended(self, state: TrainState, error: BaseException | None) -> None:
        try:
            with self._going_on(self._last):
                self._manager.wait_until_finished()
            self._manager.close()
        finally:
            self._lock.release()

    def _policy(self) -> Any:
        """Which checkpoints stay."""
        from orbax.checkpoint.checkpoint_managers import preservation_policy as policies

        best = self._best
        last = policies.LatestN(n=self._keep_last)
        if best is None:
            return last
        of_best = policies.BestN(get_metric_fn=lambda metrics: metrics[best.name], reverse=best.mode == "min", n=1)
        return policies.AnyPreservationPolicy([last, of_best])

    def _save(self, done: int, entries: Mapping[str, float], state: TrainState) -> None:
        args = self._orbax.args
        # The next step consumes the state, while its copy is being written.
        arrays = copied({"state": state, "listeners": self._memories()})
        # So do the lists of the history, to which the next epoch adds.
        history = {name: list(values) for name, values in self._run.history.items()}
        about = {"format": FORMAT, "history": history, "listeners": list(self._memories())}
        saved = args.Composite(arrays=args.StandardSave(arrays), about=args.JsonSave(about))
        with self._going_on(done):
            self._manager.save(done, args=saved, metrics=dict(entries), force=True)
        self._last = done

    @contextlib.contextmanager
    def _going_on(self, done: int) -> Iterator[None]:
        """A run does not end because it cannot be saved: the disk may be full, and the older checkpoints are there."""
        try:
            yield
        except Exception as error:
            _log.error(
                "Checkpoints: %s could not be written (%s); the run goes on, and older checkpoints stay",
                self._folder / str(done),
                str(error).splitlines()[0] if str(error) else type(error).__name__,
            )

    def _resume(self, run: Run, done: int) -> None:
        args, path = self._orbax.args, self._folder / str(done)
        memories = self._memories()
        with reading(path, self._older(done)):
            about = self._manager.restore(done, args=args.Composite(about=args.JsonRestore()))["about"]
            check_about(path, about, list(memories))
            template = {"state": run.state, "listeners": memories}
            check_shapes(path, self._manager.item_metadata(done)["arrays"], template)
            arrays = self._manager.restore(done, args=args.Composite(arrays=args.StandardRestore(template)))["arrays"]
        run.state = arrays["state"]
        for row in zip(*about["history"].values(), strict=True):
            run.history.append(dict(zip(about["history"], row, strict=True)))
        run.epochs = range(min(done, run.epochs.stop), run.epochs.stop)
        for listener, memory in zip(self._with_memory(), arrays["listeners"].values(), strict=True):
            listener.memory = memory
            try:
                listener.resumed()
            except StopRun:
                run.epochs = range(run.epochs.stop, run.epochs.stop)

    def _older(self, done: int) -> Path | None:
        """The checkpoint before one."""
        older = [step for step in self._manager.all_steps() if step < done]
        return self._folder / str(max(older)) if older else None

    def _with_memory(self) -> list[Listener]:
        return [listener for listener in self._run.listeners if jax.tree.leaves(listener.memory)]

    def _memories(self) -> dict[str, Any]:
        """What the listeners want kept, by place and class."""
        return {f"{i}-{type(one).__name__}": one.memory for i, one in enumerate(self._with_memory())}


def _orbax() -> Any:
    try:
        import orbax.checkpoint
    except ImportError as error:
        raise ImportError(
            "Checkpoints: expected Orbax, which is not installed; pip install jaxtrain[checkpoints]"
        ) from error
    return orbax.checkpoint
