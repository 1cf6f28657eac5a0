"""What a layer should compute on PyTorch's inputs and output gradients, and how far the port is from it."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from parity.diff.arrays import Compared, Layout, compared, layout_of, units
from parity.diff.floors import replayed_floors_of
from parity.diff.lining import Lines
from parity.diff.records import Call, Replayed
from parity.diff.torch_side import TorchLayer


@dataclass(frozen=True)
class Fed:
    """PyTorch's arrays in the places of ours.

    Attributes:
        inputs: for the JAX layer.
        sources: which of PyTorch's inputs each of them is, with its layout; None if it is ours.
        copies: PyTorch's inputs that are the same array as another one, as in self-attention, and which one that is.
    """

    inputs: list[np.ndarray]
    sources: list[tuple[int, Layout] | None]
    copies: dict[int, int]

    def together(self, found: Replayed) -> Replayed:
        """What PyTorch computed, with the gradients of copies added to the gradient of the one array that we have."""
        gradients = list(found.input_gradients)
        for copy, index in self.copies.items():
            first, second = (gradients[index], gradients[copy]) if gradients else (None, None)
            if first is not None and second is not None:
                gradients[index], gradients[copy] = first + second, None
        return replace(found, input_gradients=gradients)


def fed(ours: Call, theirs: Call) -> Fed:
    """PyTorch's inputs in our layout; an array that only the port has, such as a mask, stays."""
    inputs, sources, at = [], [], 0
    for array in ours.inputs:
        for index in range(at, len(theirs.inputs)):
            given = theirs.inputs[index]
            alike = np.issubdtype(given.dtype, np.floating) == np.issubdtype(array.dtype, np.floating)
            if alike and (layout := layout_of(given, array)) and not _masks(layout.to_jax(given), array):
                inputs.append(layout.to_jax(given).astype(array.dtype))
                sources.append((index, layout))
                at = index + 1
                break
        else:
            inputs.append(array)
            sources.append(None)
    taken = [source[0] for source in sources if source]
    copies = {
        other: index
        for other, array in enumerate(theirs.inputs)
        for index in taken
        if other not in taken and array.shape == theirs.inputs[index].shape
        if np.array_equal(array, theirs.inputs[index])
    }
    return Fed(inputs, sources, copies)


def _masks(theirs: np.ndarray, ours: np.ndarray) -> bool:
    """Whether two arrays are masks of two conventions: what is False in one is -inf in the other, say."""
    return not np.array_equal(theirs, ours) and (_is_mask(theirs) or _is_mask(ours))


def _is_mask(array: np.ndarray) -> bool:
    values = np.unique(array) if array.dtype != bool else np.empty(0)
    return array.dtype == bool or (len(values) == 2 and 0 in values and (1 in values or values[0] < -1e3))


class Judge:
    """Judges one call.

    Args:
        lines: what belongs to what.
        theirs: PyTorch's call.
        layer: the same call, to run again.
        given: what the port is fed.
        excluded: PyTorch's paths of layers inside whose parameters are judged elsewhere.
        precision: of JAX.
        backward: which gradients are compared: "all", those of "parameters", or "none".
    """

    def __init__(
        self,
        lines: Lines,
        theirs: Call,
        layer: TorchLayer,
        given: Fed,
        excluded: Collection[str],
        precision: str,
        backward: str = "all",
    ):
        self.lines, self.theirs, self.precision, self.backward = lines, theirs, precision, backward
        self.given = given
        self.truth = given.together(layer.replay("float64"))
        self.floors = replayed_floors_of(given.together(layer.replay("float32")), self.truth)
        self.excluded = tuple(f"{path}." for path in excluded)

    @property
    def names(self) -> set[str]:
        """Our names of the parameters whose gradients are compared."""
        if self.backward == "none":
            return set()
        own = self.truth.parameter_gradients
        return {
            name for name, (other, _) in self.lines.parameters.items() if other in own and not self._left_out(other)
        }

    def all(self, found: Replayed) -> Iterator[Compared]:
        """Every quantity, outputs first."""
        return self.compared(self.in_torch(found))

    def compared(self, found: Replayed) -> Iterator[Compared]:
        """The same for results in PyTorch's layout."""
        return self._compared(found, self.truth, gradients=True)

    def sameness(self, found: Replayed, *, rounds: bool = False) -> Callable[[Replayed, bool], bool]:
        """Whether a changed layer of PyTorch computes what JAX did, which perhaps rounds to float32."""
        ours = self.in_torch(found)

        def same(changed: Replayed, gradients: bool) -> bool:
            each = self._compared(ours, self.given.together(changed), gradients)
            return not any((one.in_float32() if rounds else one).differs for one in each)

        return same

    def in_torch(self, found: Replayed) -> Replayed:
        """Our results in PyTorch's layout, under its names."""
        outputs = []
        for index, y in enumerate(found.outputs):
            true = item(self.truth.outputs, index)
            layout = None if true is None else layout_of(true, y)
            outputs.append(y if layout is None or true is None else layout.to_torch(y, true.shape))
        inputs: list[np.ndarray | None] = [None] * len(self.theirs.inputs)
        if self.backward == "all":
            for source, gradient in zip(self.given.sources, found.input_gradients, strict=True):
                if source and gradient is not None:
                    index, layout = source
                    inputs[index] = layout.to_torch(gradient, self.theirs.inputs[index].shape)
        parameters, buffers = self.lines.in_torch(found.parameter_gradients), self.lines.in_torch(found.buffers)
        return Replayed(outputs, inputs, parameters, buffers)

    def _compared(self, ours: Replayed, true: Replayed, gradients: bool) -> Iterator[Compared]:
        path, floors = self.theirs.path, self.floors
        for index, (y, z) in enumerate(zip(ours.outputs, true.outputs, strict=False)):
            if np.issubdtype(z.dtype, np.floating):
                yield compared("output", path, y, z, item(floors.outputs, index) or 0.0, dtype=self.precision)
        for name, value in ours.buffers.items():
            # Those of its layers are judged with them.
            if name.rpartition(".")[0] == path and name in true.buffers:
                floor = floors.buffers.get(name, 0.0)
                yield compared("buffer", name, value, true.buffers[name], floor, dtype=self.precision)
        if not gradients:
            return
        inputs = {
            index: (a, b)
            for index, (a, b) in enumerate(zip(ours.input_gradients, true.input_gradients, strict=False))
            if a is not None and b is not None
        }
        sizes = units({i: g for i, g in enumerate(self.truth.input_gradients) if g is not None and i in inputs})
        for index, (a, b) in inputs.items():
            floor, size = floors.input_gradients[index], sizes[index]
            yield compared("input gradient", path, a, b, floor, unit=size, dtype=self.precision)
        own = {
            name: (ours.parameter_gradients[name], b)
            for name, b in true.parameter_gradients.items()
            if name in ours.parameter_gradients and not self._left_out(name)
        }
        sizes = units({name: self.truth.parameter_gradients[name] for name in own})
        for name, (a, b) in own.items():
            floor, size = floors.parameter_gradients[name], sizes[name]
            yield compared("parameter gradient", name, a, b, floor, unit=size, dtype=self.precision)

    def _left_out(self, name: str) -> bool:
        return name.startswith(self.excluded) if self.excluded else False


def item(items: list[Any], index: int) -> Any:
    """An item of a list; None after its end."""
    return items[index] if index < len(items) else None


def to_ours(array: np.ndarray | None, theirs: np.ndarray, ours: np.ndarray) -> Any:
    """An array of the shape of PyTorch's output in the layout of ours."""
    layout = layout_of(theirs, ours)
    return None if array is None or layout is None else layout.to_jax(array)
