"""The parameters as they are loaded."""

from collections.abc import Iterator, Mapping
from itertools import permutations

import numpy as np

from parity.diff.arrays import compared, floor_of
from parity.diff.findings import Cause, Finding


def judge_parameters(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], precision: str) -> list[Finding]:
    """A finding for each variable whose values are not PyTorch's."""
    findings = []
    for name, array in ours.items():
        true = theirs[name]
        # PyTorch's weights in float32 are the truth of both sides.
        found = compared("value", name, array, true, floor_of(true.astype(np.float32), true), dtype=precision)
        if found.differs:
            findings.append(Finding("parameter", name, name, "variable", found, _cause(array, true)))
    return findings


def _cause(ours: np.ndarray, theirs: np.ndarray) -> Cause | None:
    if ours.shape != theirs.shape:
        return Cause(f"its shape is {ours.shape}, PyTorch's is {theirs.shape}", "make the layer as large as PyTorch's")
    for says, fix, array in _mistakes(theirs):
        if array.shape == ours.shape and np.allclose(array, ours, rtol=1e-6, atol=0):
            return Cause(says, fix)
    return Cause("the values are others", "load PyTorch's with jaxtrain.interop.load_state_dict")


def _mistakes(theirs: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    load = "load PyTorch's weight as jaxtrain.interop.load_state_dict does"
    for axis in range(theirs.ndim):
        yield f"it is flipped along axis {axis}", load, np.flip(theirs, axis)
    if theirs.ndim >= 3:
        axes = tuple(range(2, theirs.ndim))
        yield "it is flipped along its spatial axes", load, np.flip(theirs, axes)
    yield "it is zero, PyTorch's is not", load, np.zeros_like(theirs)
    yield "it is one, PyTorch's is not", load, np.ones_like(theirs)
    if theirs.ndim == 2:
        shape = theirs.shape
        yield "its rows and columns are reshaped where they should be transposed", load, theirs.T.reshape(shape)
    for axis in range(min(theirs.ndim, 2)):
        for count in (2, 3, 4):
            if theirs.shape[axis] % count == 0:
                parts = np.split(theirs, count, axis)
                for order in permutations(range(count)):
                    if list(order) != list(range(count)):
                        yield (
                            f"its {count} parts along axis {axis} lie in the order {order}",
                            "keep PyTorch's order (query, key, value; or the gates i, f, g, o)",
                            np.concatenate([parts[at] for at in order], axis),
                        )
    if theirs.ndim >= 2:
        # A dense layer behind a flattened image: its inputs in another order.
        width = theirs.shape[1]
        for channels in range(2, width):
            if width % channels == 0:
                columns = theirs.reshape(len(theirs), channels, width // channels, -1).swapaxes(1, 2)
                yield (
                    f"its inputs are reordered from {channels} channels first to channels last",
                    "reorder them only if the port flattens channels-last images as they are",
                    columns.reshape(theirs.shape),
                )
    yield "it is multiplied by √d", "remove the factor", theirs * np.sqrt(theirs.shape[-1] if theirs.ndim else 1.0)
