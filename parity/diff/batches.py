"""The batches of a diff."""

from typing import Any


def batches_of(name: str, batch: Any, steps: int) -> list[tuple[Any, ...]]:
    """One tuple of arrays a step."""
    if isinstance(batch, tuple):
        return [batch] * steps
    if not isinstance(batch, list) or not all(isinstance(each, tuple) for each in batch) or not batch:
        raise TypeError(
            f"diff: expected {name} to be a tuple of arrays or a list of tuples, got {type(batch).__name__}"
        )
    return batch


def examples_of(batch: tuple[Any, ...]) -> int:
    """The number of examples of a batch."""
    return next((len(array) for array in batch if getattr(array, "ndim", 0)), 1)
