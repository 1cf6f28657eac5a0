"""Dropout, which no two frameworks draw alike: its rate, its mode and its scale are judged instead of its values."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from parity.diff.arrays import Compared, compared
from parity.diff.findings import Cause, Finding
from parity.diff.jax_side import JaxSide, paths_of
from parity.diff.lining import Lines
from parity.diff.records import Step


def judge_dropout(side: JaxSide, lines: Lines, ours: Step, start: torch.nn.Module) -> Iterator[Finding]:
    """A finding for each dropout layer with another rate or mode than PyTorch's; from then on they are all silent."""
    theirs = dict(start.named_modules())
    nodes = paths_of(side.model)
    for call in ours.calls:
        if "Dropout" not in call.kind or call.number:
            continue
        path = lines.layers.get(call.path)
        counterpart = theirs.get(path) if path else None
        rate = _rate(nodes[call.path])
        name = path or call.path
        if not start.training:
            if call.path not in side.silent and not np.array_equal(call.outputs[0], call.inputs[0]):
                worst = compared("output", name, call.outputs[0], call.inputs[0], None)
                cause = Cause("dropout is left on, PyTorch's model is in evaluation mode", "call model.eval()")
                yield Finding("layer", name, call.path, call.kind, worst, cause)
        elif counterpart is not None and rate is not None:
            given = float(getattr(counterpart, "p", rate))
            if getattr(nodes[call.path], "deterministic", False):
                cause = Cause("dropout is off, PyTorch's model is in training mode", "call model.train()")
                yield Finding("layer", name, call.path, call.kind, _numbers("rate", name, 0.0, given), cause)
            elif rate != given:
                cause = Cause(
                    f"the rate of dropout is {rate:g}, PyTorch's is {given:g}", f"pass {given:g}; Flax's rate drops"
                )
                yield Finding("layer", name, call.path, call.kind, _numbers("rate", name, rate, given), cause)
    side.silent |= {call.path for call in ours.calls if "Dropout" in call.kind}


def _rate(node: Any) -> float | None:
    value = getattr(node, "p", getattr(node, "rate", None))
    return float(value) if isinstance(value, int | float) else None


def _numbers(kind: str, path: str, ours: float, theirs: float) -> Compared:
    return compared(kind, path, np.asarray(ours), np.asarray(theirs), None)
