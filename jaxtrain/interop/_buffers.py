"""The buffers that an optimizer keeps for one parameter, in PyTorch's layout and in ours."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxtrain.interop._arrays import misfit, placed
from jaxtrain.interop._entries import Entry, packed

FACTORS = {"row_var": "col_var", "col_var": "row_var"}
"""Adafactor's means along the two last axes: transposing the parameter swaps them."""


def from_torch(
    entry: Entry, given: Mapping[str, np.ndarray], old: Mapping[str, Any], problems: list[str]
) -> Iterator[tuple[str, Any]]:
    """PyTorch's buffers of a parameter in our layout and dtype; what does not fit is added to `problems`."""
    for field, array in given.items():
        own = _field(entry, field, array.ndim)
        if own is None:
            problems.append(f"{entry.name}: {field} cannot be carried over: its axes are others in our layout")
            continue
        expected = entry.shape(old[own].shape)
        if array.shape != expected:
            problems.append(f"{entry.name}: expected {field} of shape {expected}, got {array.shape}")
        elif wrong := misfit(array, old[own].dtype):
            problems.append(f"{entry.name}: {field}: {wrong}")
        else:
            yield own, placed(entry.from_torch(array), old[own])


def to_torch(where: str, name: str, buffers: Mapping[str, list[tuple[Entry, np.ndarray]]]) -> dict[str, np.ndarray]:
    """A parameter's buffers in PyTorch's layout, by its names."""
    found = {}
    for field, parts in buffers.items():
        entry, array = parts[0]
        theirs = _field(entry, field, array.ndim)
        if theirs is None:
            raise ValueError(f"{where}: {field} of {name} cannot be carried over: its axes are others in PyTorch")
        found[theirs] = packed(where, f"{name}.{field}", [part for part, _ in parts], [value for _, value in parts])
    return found


def _field(entry: Entry, field: str, axes: int) -> str | None:
    """The name of a buffer on the other side; None if it has no counterpart there."""
    if field not in FACTORS or entry.layout.moves == "nothing":
        return field
    return FACTORS[field] if entry.layout.moves == "matrix" and axes == 2 else None
