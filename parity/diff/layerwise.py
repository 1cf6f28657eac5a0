"""Layer by layer: each JAX layer on PyTorch's inputs and output gradients, children before their parents."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from parity.diff.arrays import Compared, Layout, compared, layout_of, units
from parity.diff.causes import cause_of
from parity.diff.findings import Cause, Finding
from parity.diff.jax_side import JaxSide
from parity.diff.lining import Lines
from parity.diff.records import Call, Place, Replayed, Step
from parity.diff.residual import block_cause
from parity.diff.rounded import rounding_cause
from parity.diff.running import pairs_of
from parity.diff.torch_side import TorchLayer, TorchLoss


@dataclass(frozen=True)
class Fed:
    """PyTorch's arrays in the places of ours.

    Attributes:
        inputs: for the JAX layer.
        sources: which of PyTorch's inputs each of them is, with its layout; None if it is ours.
    """

    inputs: list[np.ndarray]
    sources: list[tuple[int, Layout] | None]


def fed(ours: Call, theirs: Call) -> Fed:
    """PyTorch's inputs in our layout; an array that only the port has, such as a mask, stays."""
    inputs, sources, at = [], [], 0
    for array in ours.inputs:
        for index in range(at, len(theirs.inputs)):
            given = theirs.inputs[index]
            alike = np.issubdtype(given.dtype, np.floating) == np.issubdtype(array.dtype, np.floating)
            if alike and array.dtype != bool and (layout := layout_of(given, array)):
                inputs.append(layout.to_jax(given).astype(array.dtype))
                sources.append((index, layout))
                at = index + 1
                break
        else:
            inputs.append(array)
            sources.append(None)
    return Fed(inputs, sources)


def judge_layers(
    side: JaxSide, lines: Lines, ours: Step, theirs: Step, start: torch.nn.Module, precision: str, notes: list[str]
) -> list[Finding]:
    """A finding for each layer that is wrong by itself."""
    findings: list[Finding] = []
    forced: dict[Place, tuple[list[np.ndarray], list[np.ndarray | None]]] = {}
    blamed: set[str] = set()
    for mine, true in pairs_of(lines, ours, theirs):
        layer = TorchLayer(start, true)
        judge = Judge(side, lines, mine, true, layer, precision, [path for path, _ in forced])
        given = fed(mine, true)
        back = [_to_ours(g, y, z) for g, y, z in zip(true.output_gradients, true.outputs, mine.outputs, strict=False)]
        inside = {place: value for place, value in forced.items() if _inside(place[0], mine.path)}
        replayed = side.replay(mine, given.inputs, back, inside)
        worst = next((each for each in judge.all(replayed, given) if each.differs), None)
        if worst is None:
            continue
        reference = judge.truth
        forced[mine.place] = (
            [
                _to_ours(y, y, z) if (z := at(mine.outputs, i)) is not None else y
                for i, y in enumerate(reference.outputs)
            ],
            [_gradient(reference, source) for source in given.sources if source is None or _floating(true, source)],
        )
        if true.path in blamed:
            continue
        blamed.add(true.path)
        casts = rounding_cause(side, mine, given.inputs, worst)
        if casts and casts.harmless:
            notes.append(f"{true.path or 'the model'}: {casts.text}")
            continue
        same = judge.sameness(replayed, given)
        cause = (
            (Cause(casts.text, casts.fix) if casts and casts.likely else None)
            or cause_of(layer, same)
            or block_cause(layer, theirs, same)
        )
        place = _where(mine, replayed, lines, theirs, inside) if replayed.inner else ""
        findings.append(Finding("layer", true.path, mine.path, true.kind, worst, cause, place))
    return findings


class Judge:
    """What a layer should compute, and how far a replay may be from it."""

    def __init__(
        self, side: JaxSide, lines: Lines, ours: Call, theirs: Call, layer: TorchLayer, precision: str, wrong: list[str]
    ):
        self.side, self.lines, self.ours, self.theirs, self.precision = side, lines, ours, theirs, precision
        self.truth, self.low = layer.replay("float64"), layer.replay("float32")
        self.prefix = f"{theirs.path}." if theirs.path else ""
        # What lies in a layer that is wrong itself is not held against its parents.
        self.excluded = tuple(f"{lines.layers[path]}." for path in wrong if _inside(path, ours.path))

    def all(self, found: Replayed, given: Fed) -> Iterator[Compared]:
        """Every quantity, outputs first."""
        yield from self._compared(self._in_torch(found, given), self.truth, gradients=True)

    def sameness(self, found: Replayed, given: Fed) -> Callable[[Replayed, bool], bool]:
        """Whether a changed layer of PyTorch computes what JAX did."""
        ours = self._in_torch(found, given)

        def same(changed: Replayed, gradients: bool) -> bool:
            return not any(each.differs for each in self._compared(ours, changed, gradients))

        return same

    def _in_torch(self, found: Replayed, given: Fed) -> Replayed:
        """Our results in PyTorch's layout, under its names."""
        outputs = []
        for index, y in enumerate(found.outputs):
            true = at(self.truth.outputs, index)
            layout = None if true is None else layout_of(true, y)
            outputs.append(y if layout is None or true is None else layout.to_torch(y, true.shape))
        inputs: list[np.ndarray | None] = [None] * len(self.theirs.inputs)
        for source, gradient in zip(given.sources, found.input_gradients, strict=True):
            if source and gradient is not None:
                index, layout = source
                inputs[index] = layout.to_torch(gradient, self.theirs.inputs[index].shape)
        parameters, buffers = self.lines.in_torch(found.parameter_gradients), self.lines.in_torch(found.buffers)
        return Replayed(outputs, inputs, parameters, buffers)

    def _compared(self, ours: Replayed, true: Replayed, gradients: bool) -> Iterator[Compared]:
        path, low = self.theirs.path, self.low
        for index, (y, z) in enumerate(zip(ours.outputs, true.outputs, strict=False)):
            if np.issubdtype(z.dtype, np.floating):
                right = at(self.truth.outputs, index)
                yield compared("output", path, y, z, at(low.outputs, index), truth=right, dtype=self.precision)
        for name, value in ours.buffers.items():
            # Those of its layers are judged with them.
            if name.rpartition(".")[0] == path and name in true.buffers:
                right, rough = self.truth.buffers.get(name), low.buffers.get(name)
                yield compared("buffer", name, value, true.buffers[name], rough, truth=right, dtype=self.precision)
        if not gradients:
            return
        pairs = {
            ("input gradient", str(index)): (
                a,
                b,
                at(low.input_gradients, index),
                at(self.truth.input_gradients, index),
            )
            for index, (a, b) in enumerate(zip(ours.input_gradients, true.input_gradients, strict=False))
            if a is not None and b is not None
        }
        sizes = units({key: pair[3] for key, pair in pairs.items()})
        own = {
            ("parameter gradient", name): (
                ours.parameter_gradients[name],
                b,
                low.parameter_gradients.get(name),
                self.truth.parameter_gradients[name],
            )
            for name, b in true.parameter_gradients.items()
            if name in ours.parameter_gradients and not self._left_out(name)
        }
        sizes |= units({key: pair[3] for key, pair in own.items()})
        for key, (a, b, c, right) in (pairs | own).items():
            name = path if key[0] == "input gradient" else key[1]
            yield compared(key[0], name, a, b, c, unit=sizes[key], truth=right, dtype=self.precision)

    def _left_out(self, name: str) -> bool:
        return name.startswith(self.excluded) if self.excluded else False


def judge_loss(
    side: JaxSide,
    ours: Step,
    theirs: Step,
    start: torch.nn.Module,
    loss: Any,
    batch: tuple[Any, ...],
    our_batch: tuple[Any, ...],
    precision: str,
) -> list[Finding]:
    """The loss on PyTorch's output."""
    mine, true = (next((call for call in step.calls if call.path == ""), None) for step in (ours, theirs))
    if mine is None or true is None:
        return []
    layer = TorchLoss(start, loss, batch, true)
    truth, low = layer.replay("float64"), layer.replay("float32")
    outputs = [_to_ours(y, y, z) for y, z in zip(true.outputs, mine.outputs, strict=False)]
    if any(y is None for y in outputs):
        return []
    found = side.replay_loss(mine, outputs, our_batch)
    back = [
        None if g is None or (layout := layout_of(y, z)) is None else layout.to_torch(g, y.shape)
        for g, y, z in zip(found.input_gradients, true.outputs, mine.outputs, strict=False)
    ]

    def all(changed: Replayed, gradients: bool) -> Iterator[Compared]:
        value = found.outputs[0], changed.outputs[0], low.outputs[0]
        yield compared("loss", "", *value, truth=truth.outputs[0], dtype=precision)
        if gradients:
            sizes = units({i: g for i, g in enumerate(truth.input_gradients) if g is not None})
            for index, (a, b) in enumerate(zip(back, changed.input_gradients, strict=False)):
                if a is not None and b is not None:
                    rough, right = low.input_gradients[index], truth.input_gradients[index]
                    size = sizes[index]
                    yield compared("output gradient", "", a, b, rough, unit=size, truth=right, dtype=precision)

    worst = next((each for each in all(truth, True) if each.differs), None)
    if worst is None:
        return []
    cause = cause_of(layer, lambda changed, gradients: not any(each.differs for each in all(changed, gradients)))
    return [Finding("loss", "", "", "loss", worst, cause)]


def at(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else None


def _to_ours(array: np.ndarray | None, theirs: np.ndarray, ours: np.ndarray) -> Any:
    """An array of the shape of PyTorch's output in the layout of ours."""
    layout = layout_of(theirs, ours)
    return None if array is None or layout is None else layout.to_jax(array)


def _floating(theirs: Call, source: tuple[int, Layout]) -> bool:
    return np.issubdtype(theirs.inputs[source[0]].dtype, np.floating)


def _gradient(truth: Replayed, source: tuple[int, Layout] | None) -> np.ndarray | None:
    gradient = None if source is None else truth.input_gradients[source[0]]
    return None if gradient is None or source is None else source[1].to_jax(gradient)


def _inside(path: str, parent: str) -> bool:
    return path != parent and (not parent or path.startswith(f"{parent}."))


def _where(ours: Call, found: Replayed, lines: Lines, theirs: Step, forced: Any) -> str:
    """Between which of its layers a parent goes wrong: the first one whose input is not PyTorch's."""
    known = {call.place: call for call in theirs.calls}
    previous = ""
    for (path, number), arrays in found.inner.items():
        call = known.get((lines.layers.get(path, "?"), number))
        if call is None or "." in path.removeprefix(f"{ours.path}." if ours.path else ""):
            continue
        for array in arrays:
            if not np.issubdtype(array.dtype, np.floating):
                continue
            near = [
                g
                for g in call.inputs
                if (layout := layout_of(g, array)) and np.allclose(layout.to_jax(g), array, 1e-9, 1e-9)
            ]
            if not near:
                between = f"between {previous!r} and" if previous else "before"
                return f"wrong {between} {call.path!r}"
        previous = call.path
    return f"wrong after {previous!r}" if previous else ""
