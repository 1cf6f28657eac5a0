"""The loss of the port on PyTorch's output."""

from collections.abc import Iterator
from typing import Any

import torch

from parity.diff.arrays import Compared, compared, layout_of, units
from parity.diff.causes import cause_of
from parity.diff.findings import Finding
from parity.diff.floors import replayed_floors_of
from parity.diff.jax_replay import replay_loss
from parity.diff.jax_side import JaxSide
from parity.diff.judge import to_ours
from parity.diff.records import Replayed, Step
from parity.diff.scaled import scaled_cause
from parity.diff.torch_side import TorchLoss


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
    truth = layer.replay("float64")
    floors = replayed_floors_of(layer.replay("float32"), truth)
    outputs = [to_ours(y, y, z) for y, z in zip(true.outputs, mine.outputs, strict=False)]
    if any(y is None for y in outputs):
        return []
    found = replay_loss(side, mine, outputs, our_batch)
    back = [
        None if g is None or (layout := layout_of(y, z)) is None else layout.to_torch(g, y.shape)
        for g, y, z in zip(found.input_gradients, true.outputs, mine.outputs, strict=False)
    ]

    def all(changed: Replayed, gradients: bool) -> Iterator[Compared]:
        yield compared("loss", "", found.outputs[0], changed.outputs[0], floors.outputs[0], dtype=precision)
        if gradients:
            sizes = units({i: g for i, g in enumerate(truth.input_gradients) if g is not None})
            for index, (a, b) in enumerate(zip(back, changed.input_gradients, strict=False)):
                if a is not None and b is not None:
                    floor = floors.input_gradients[index]
                    yield compared("output gradient", "", a, b, floor, unit=sizes[index], dtype=precision)

    worst = next((each for each in all(truth, True) if each.differs), None)
    if worst is None:
        return []

    def same(changed: Replayed, gradients: bool) -> bool:
        return not any(each.differs for each in all(changed, gradients))

    cause = cause_of(layer, same) or scaled_cause(Replayed(found.outputs, back), truth, "the loss", same)
    return [Finding("loss", "", "", "loss", worst, cause)]
