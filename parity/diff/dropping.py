"""Dropout, which no two frameworks draw alike: its rate, its mode and its scale are judged instead of its values."""

from collections.abc import Iterator

import numpy as np
import torch

from parity.diff.arrays import Compared, compared
from parity.diff.findings import Cause, Finding
from parity.diff.jax_side import JaxSide
from parity.diff.lining import Lines
from parity.diff.records import Call, Step


def judge_dropout(side: JaxSide, lines: Lines, ours: Step, start: torch.nn.Module) -> Iterator[Finding]:
    """A finding for each dropout layer with another rate, mode or scale than PyTorch's; then they are all silent."""
    theirs = dict(start.named_modules())
    for call in ours.calls:
        if "Dropout" not in call.kind or call.number:
            continue
        path = lines.layers.get(call.path)
        counterpart = theirs.get(path) if path else None
        name = path or call.path
        if not start.training:
            found = _in_evaluation(name, call)
        else:
            found = None if counterpart is None else _in_training(name, call, float(getattr(counterpart, "p", 0.0)))
        if found:
            worst, cause = found
            yield Finding("layer", name, call.path, call.kind, worst, cause)
    side.silent = True


def _in_evaluation(name: str, call: Call) -> tuple[Compared, Cause] | None:
    if np.array_equal(call.outputs[0], call.inputs[0]):
        return None
    worst = compared("output", name, call.outputs[0], call.inputs[0])
    if (factor := _factor(call.outputs[0], call.inputs[0])) and call.outputs[0].all():
        says = f"dropout multiplies by {factor:.6g} in evaluation, PyTorch's does nothing"
        return worst, Cause(says, "divide by 1 - p in training instead")
    return worst, Cause("dropout is left on, PyTorch's model is in evaluation mode", "call model.eval()")


def _in_training(name: str, call: Call, given: float) -> tuple[Compared, Cause] | None:
    if call.rate is not None and call.rate != given:
        cause = Cause(
            f"the rate of dropout is {call.rate:g}, PyTorch's is {given:g}", f"pass {given:g}; it is what drops"
        )
        return _numbers("rate", name, call.rate, given), cause
    if call.dropped is None:
        if not given:
            return None
        cause = Cause("dropout is off, PyTorch's model is in training mode", "call model.train()")
        return _numbers("rate", name, 0.0, given), cause
    factor, wanted = _factor(call.dropped, call.inputs[0]), 1 / (1 - given) if given < 1 else 0.0
    if factor is None or abs(factor - wanted) <= 1e-3 * wanted:
        return None
    cause = Cause(f"dropout multiplies what it keeps by {factor:.6g}, PyTorch's by {wanted:.6g}", "divide by 1 - p")
    return _numbers("scale", name, factor, wanted), cause


def _factor(after: np.ndarray, before: np.ndarray) -> float | None:
    """By what the values that are kept are multiplied, if it is one number."""
    kept = (after != 0) & (before != 0)
    if after.shape != before.shape or not kept.any():
        return None
    factors = after[kept] / before[kept]
    return float(np.median(factors)) if np.ptp(factors) <= 1e-3 * abs(np.median(factors)) else None


def _numbers(kind: str, path: str, ours: float, theirs: float) -> Compared:
    return compared(kind, path, np.asarray(ours), np.asarray(theirs))
