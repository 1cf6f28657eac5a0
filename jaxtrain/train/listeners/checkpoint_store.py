"""A folder of checkpoints that Orbax writes, whole or not at all."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxtrain.train.listeners.checkpoint_files import check_about, check_shapes, reading

_log = logging.getLogger("jaxtrain")


class Store:
    """Numbered checkpoints in a folder, each with arrays and with what JSON can hold about them.

    Args:
        folder: the folder. It is made.
        policy: which checkpoints stay, a preservation policy of Orbax.
        asynchronous: whether `save` returns while Orbax writes.
    """

    def __init__(self, folder: Path, policy: Any, asynchronous: bool) -> None:
        import orbax.checkpoint

        self._args = orbax.checkpoint.args
        self._folder = folder
        self._last = 0
        self._manager = orbax.checkpoint.CheckpointManager(
            folder,
            item_handlers={
                "arrays": orbax.checkpoint.StandardCheckpointHandler(),
                "about": orbax.checkpoint.JsonCheckpointHandler(),
            },
            options=orbax.checkpoint.CheckpointManagerOptions(
                create=True,
                cleanup_tmp_directories=True,
                enable_async_checkpointing=asynchronous,
                preservation_policy=policy,
            ),
        )

    @property
    def latest(self) -> int | None:
        """The number of the last checkpoint, None if there is none."""
        return self._manager.latest_step()

    def path(self, number: int) -> Path:
        """Where a checkpoint is."""
        return self._folder / str(number)

    def save(
        self, number: int, arrays: Any, about: Mapping[str, Any], metrics: Mapping[str, float] | None = None
    ) -> None:
        """Write a checkpoint, or say in the log why it could not be written."""
        saved = self._args.Composite(arrays=self._args.StandardSave(arrays), about=self._args.JsonSave(about))
        self._last = number
        with self._going_on():
            self._manager.save(number, args=saved, metrics=metrics and dict(metrics), force=True)

    def about(self, number: int, listeners: list[str]) -> dict[str, Any]:
        """What a checkpoint holds besides arrays; raise unless it has the memories of these listeners."""
        with reading(self.path(number), self._older(number)):
            about = self._manager.restore(number, args=self._args.Composite(about=self._args.JsonRestore()))["about"]
            check_about(self.path(number), about, listeners)
        return about

    def arrays(self, number: int, template: Any) -> Any:
        """The arrays of a checkpoint; raise unless they are like the template."""
        with reading(self.path(number), self._older(number)):
            check_shapes(self.path(number), self._manager.item_metadata(number)["arrays"], template)
            restored = self._args.Composite(arrays=self._args.StandardRestore(template))
            return self._manager.restore(number, args=restored)["arrays"]

    def close(self) -> None:
        """Wait for what is being written."""
        for last in (self._manager.wait_until_finished, self._manager.close):
            with self._going_on():
                last()

    def _older(self, number: int) -> Path | None:
        """The checkpoint before one."""
        older = [step for step in self._manager.all_steps() if step < number]
        return self.path(max(older)) if older else None

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        """A run does not end because it cannot be saved: the disk may be full, and the older checkpoints are there."""
        try:
            yield
        except Exception as error:
            _log.error(
                "Checkpoints: %s could not be written (%s); the run goes on, and older checkpoints stay",
                self.path(self._last),
                str(error).splitlines()[0] if str(error) else type(error).__name__,
            )
