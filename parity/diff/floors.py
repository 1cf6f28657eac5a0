"""How far PyTorch's float32 run is from float64, one number an array: the floor of what rounding explains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from parity.diff.arrays import floor_of
from parity.diff.records import Replayed, Step

Array = np.ndarray | None


@dataclass(frozen=True)
class Floors:
    """The floors of a step.

    Attributes:
        outputs: of each call, in the order of the calls.
        output_gradients: likewise.
        loss: of the loss.
        gradients: of parameters, by PyTorch's names.
        buffers: likewise.
        parameters: likewise, after the step.
    """

    outputs: list[list[float]]
    output_gradients: list[list[float]]
    loss: float
    gradients: dict[str, float]
    buffers: dict[str, float]
    parameters: dict[str, float]


@dataclass(frozen=True)
class ReplayedFloors:
    """The floors of what one layer computes alone, see `Replayed`."""

    outputs: list[float]
    input_gradients: list[float]
    parameter_gradients: dict[str, float]
    buffers: dict[str, float]


def floors_of(rough: Step, exact: Step) -> Floors:
    """The floors of a step in float32 and in float64."""
    known = {call.place: call for call in rough.calls}
    low = [known.get(call.place, call) for call in exact.calls]
    return Floors(
        [_listed(a.outputs, b.outputs) for a, b in zip(low, exact.calls, strict=True)],
        [_listed(a.output_gradients, b.output_gradients) for a, b in zip(low, exact.calls, strict=True)],
        abs(rough.loss - exact.loss) if np.isfinite(rough.loss - exact.loss) else 0.0,
        _named(rough.gradients, exact.gradients),
        _named(rough.buffers, exact.buffers),
        _named(rough.parameters, exact.parameters),
    )


def replayed_floors_of(rough: Replayed, exact: Replayed) -> ReplayedFloors:
    """The floors of a layer in float32 and in float64."""
    return ReplayedFloors(
        _listed(rough.outputs, exact.outputs),
        _listed(rough.input_gradients, exact.input_gradients),
        _named(rough.parameter_gradients, exact.parameter_gradients),
        _named(rough.buffers, exact.buffers),
    )


def _listed(rough: Sequence[Array], exact: Sequence[Array]) -> list[float]:
    return [floor_of(rough[at] if at < len(rough) else None, array) for at, array in enumerate(exact)]


def _named(rough: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: floor_of(rough.get(name), array) for name, array in exact.items()}
