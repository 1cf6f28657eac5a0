"""The folder of a run's checkpoints: its lock, and checks of what is in it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxtrain._ground.paths import named_leaves
from jaxtrain.train._leaves import differences

FORMAT = 1
"""The number of the layout of a checkpoint."""


class FolderLock:
    """Keeps a second run out of a folder. The lock ends with the process, however it ends.

    Args:
        folder: the folder of checkpoints; the lock is a file next to it.

    Raises:
        ValueError: if another run has the lock.
    """

    def __init__(self, folder: Path) -> None:
        self._file: int | None = None
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"Checkpoints: expected a folder, got the file {folder}; choose another name")
        try:
            import fcntl
        except ImportError:  # Windows has other locks.
            return
        if jax.process_index() > 0:  # The processes of one run share the folder.
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(folder.with_name(f"{folder.name}.lock"), os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise ValueError(
                f"Checkpoints: expected a folder that no other run uses, got {folder}; wait for that run to end, or "
                "use another folder"
            ) from None
        self._file = file

    def release(self) -> None:
        """Let others in."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class MisfitError(ValueError):
    """A checkpoint belongs to another run."""


@contextlib.contextmanager
def reading(path: Path, older: Path | None) -> Iterator[None]:
    """A context in which a checkpoint is read: an error names it, and the older one to go on from."""
    try:
        yield
    except MisfitError:
        raise
    except Exception as error:
        way_out = f"delete it to go on from {older}" if older else "delete it to begin again"
        first_line = str(error).splitlines()[0] if str(error) else ""
        raise ValueError(
            f"Checkpoints: expected a whole checkpoint of jaxtrain, got {path}, which cannot be read "
            f"({type(error).__name__}: {first_line}); {way_out}"
        ) from error


def check_about(path: Path, about: Any, listeners: list[str]) -> None:
    """Raise unless a checkpoint has this layout, and the memories of these listeners."""
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else about
        raise MisfitError(
            f"Checkpoints: expected a checkpoint in format {FORMAT}, got {path} in format {found!r}; read it with the "
            "version of jaxtrain that wrote it, or use another folder"
        )
    if about["listeners"] != listeners:
        raise MisfitError(
            f"Checkpoints: the checkpoint {path} was written with the listeners {about['listeners']}, got {listeners}; "
            "use the same listeners, or another folder"
        )


def check_epoch(path: Path, saved: int | None, steps: int | None) -> None:
    """Raise unless the epoch in which a checkpoint was written has as many steps as those of the run."""
    if saved is not None and steps is not None and saved != steps:
        raise MisfitError(
            f"Checkpoints: the checkpoint {path} was written within an epoch of {saved} steps, got epochs of {steps}; "
            f"use the same data and batch size, or delete {path.parent} to go on from the last whole epoch"
        )


def check_shapes(path: Path, saved: Any, template: Any) -> None:
    """Raise unless a checkpoint has the arrays of the run; name the first that differ."""
    found = differences(_shapes(saved), _shapes(template), "the checkpoint", "the run")
    if found:
        raise MisfitError(
            f"Checkpoints: the checkpoint {path} does not fit this run: {found}. Use the network and the optimizer "
            "that it was written with, or another folder"
        )


def _shapes(tree: Any) -> dict[str, str]:
    """The shape of every leaf by its path; the metadata of Orbax know a state as a plain dict."""

    def shape(leaf: Any) -> str:
        is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return str(tuple((jax.random.key_data(leaf) if is_key else leaf).shape))

    return {name: shape(leaf) for name, leaf in named_leaves(tree).items()}
