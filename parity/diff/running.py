"""Both sides as they run, each on its own results."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from parity.diff.arrays import Compared, compared, layout_of, units
from parity.diff.floors import Floors
from parity.diff.lining import Lines
from parity.diff.records import Call, Step

Arrays = Mapping[str, np.ndarray]


def as_it_runs(
    lines: Lines,
    ours: Sequence[Step],
    theirs: Sequence[Step],
    floors: Sequence[Floors],
    start: Arrays,
    precision: str,
    rounded: bool = False,
) -> list[Compared]:
    """Every quantity of every step in the order of computation.

    Args:
        lines: what belongs to what.
        ours: our steps.
        theirs: PyTorch's in float64.
        floors: how far PyTorch's steps in float32 are from these.
        start: PyTorch's variables before the first step.
        precision: of JAX.
        rounded: whether our optimizer rounds to float32; then nothing after its first update is more exact.
    """
    found: list[Compared] = []
    noise: set[str] = set()
    for step, (mine, true, low) in enumerate(zip(ours, theirs, floors, strict=True)):

        def add(kind: str, path: str, a, b, floor, unit=None, step=step, noise=noise) -> None:
            after = kind == "parameter after the step"
            coarse = (rounded and (step or after)) or (after and path in noise)
            found.append(
                compared(kind, path, a, b, floor, step=step, unit=unit, dtype="float32" if coarse else precision)
            )

        calls = [(known.path, call, known, number) for number, call, known in _pairs(lines, mine, true)]
        for name, call, known, number in calls:
            for index, (a, b) in enumerate(zip(call.outputs, known.outputs, strict=False)):
                if np.issubdtype(b.dtype, np.floating) and (layout := layout_of(b, a)):
                    add("output", name, layout.to_torch(a, b.shape), b, low.outputs[number][index])
        add("loss", "", np.asarray(mine.loss), np.asarray(true.loss), low.loss)
        gradients = {name: known.output_gradients for name, _, known, _ in calls}
        sizes = units({name: each[0] for name, each in gradients.items() if each and each[0] is not None})
        for name, call, known, number in reversed(calls):
            for index, (a, b) in enumerate(zip(call.output_gradients, known.output_gradients, strict=False)):
                if a is not None and b is not None and (layout := layout_of(known.outputs[index], call.outputs[index])):
                    add(
                        "output gradient",
                        name,
                        layout.to_torch(a, b.shape),
                        b,
                        low.output_gradients[number][index],
                        sizes.get(name),
                    )
        gradients_of_ours = lines.in_torch(mine.gradients)
        sizes = units(true.gradients)
        # Where the gradient is what rounding leaves of zero, an optimizer that divides it by itself moves by noise.
        noise |= {name for name, b in true.gradients.items() if sizes[name] > np.abs(b).max(initial=0.0)}
        for name, b in true.gradients.items():
            if name in gradients_of_ours:
                add("parameter gradient", name, gradients_of_ours[name], b, low.gradients[name], sizes[name])
        buffers = lines.in_torch(mine.buffers)
        for name, b in true.buffers.items():
            if name in buffers and not name.endswith("num_batches_tracked"):
                add("buffer", name, buffers[name], b, low.buffers[name])
        for name, a in lines.in_torch(mine.parameters).items():
            if name in true.parameters and name in true.gradients:
                b, moved = true.parameters[name], np.abs(true.parameters[name] - start[name]).max(initial=0.0)
                # Of what has hardly moved, float64 keeps no more than the size of the parameter allows.
                size = max(float(moved), 2e-3 * float(np.abs(b).max(initial=0.0)), 1e-12)
                add("parameter after the step", name, a, b, low.parameters[name], size)
    return found


def _pairs(lines: Lines, ours: Step, theirs: Step) -> Iterator[tuple[int, Call, Call]]:
    """Our calls in the order in which they return, with PyTorch's and the numbers of these."""
    known = {call.place: number for number, call in enumerate(theirs.calls)}
    for call in ours.calls:
        place = lines.layers.get(call.path, "?"), call.number
        if place in known:
            yield known[place], call, theirs.calls[known[place]]


def pairs_of(lines: Lines, ours: Step, theirs: Step) -> list[tuple[Call, Call]]:
    """Our calls and PyTorch's, in the order in which ours return."""
    return [(call, known) for _, call, known in _pairs(lines, ours, theirs)]
