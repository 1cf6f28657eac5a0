"""The batches of a diff."""

from typing import Any

import numpy as np


def batches_of(name: str, batch: Any, steps: int) -> list[tuple[Any, ...]]:
    """One tuple of arrays a step.

    Args:
        name: of the argument, for errors.
        batch: a tuple of arrays for all steps, or a list of such tuples.
        steps: how many there are, if it is a tuple.

    Raises:
        TypeError: if it is neither, or holds something else than arrays of numbers.
        ValueError: if it is empty, holds NaN, or there are no steps.
    """
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"diff: expected steps to be an integer of at least 1, got {steps!r}")
    if not isinstance(batch, tuple) and (
        not isinstance(batch, list) or not all(isinstance(each, tuple) for each in batch) or not batch
    ):
        raise TypeError(
            f"diff: expected {name} to be a tuple of arrays or a list of tuples, got {type(batch).__name__}; "
            "pass (array,) if there is one"
        )
    batches = [batch] if isinstance(batch, tuple) else batch
    for each in batches:
        _check(name, each)
    return batches * steps if isinstance(batch, tuple) else batches


def _check(name: str, batch: tuple[Any, ...]) -> None:
    if not batch:
        raise ValueError(f"diff: expected {name} to hold the arrays that the model is called with, got an empty tuple")
    for place, given in enumerate(batch):
        try:
            array = np.asarray(given)
        except (RuntimeError, TypeError) as error:  # A tensor on a GPU, or one with a gradient.
            raise TypeError(
                f"diff: expected {name} to hold NumPy arrays, got {type(given).__name__} at place {place}, which is "
                f"none: {error}"
            ) from error
        if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
            raise TypeError(
                f"diff: expected {name} to hold arrays of numbers, got {type(given).__name__} {_short(given)} at place "
                f"{place}; let the functions of loss= turn arrays into what the model takes"
            )
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise ValueError(
                f"diff: expected {name} to hold numbers, got NaN in the array at place {place}; pass a batch without, "
                "because NaN hides every difference behind it"
            )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def examples_of(batch: tuple[Any, ...]) -> int:
    """The number of examples of a batch."""
    return next((len(array) for array in batch if getattr(array, "ndim", 0)), 1)
