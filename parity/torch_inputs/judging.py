"""Both verdicts on the inputs of a component."""

from collections.abc import Iterator, Sequence

import numpy as np

from parity.draws import numbers
from parity.judge import judge
from parity.precision import Draw
from parity.torch_inputs.comparison import Comparison
from parity.torch_inputs.outcome import Kind, Outcome
from parity.torch_inputs.refusals import flaw, reason_to_refuse
from parity.torch_inputs.sequence_comparison import without_counterpart
from parity.trace import Quantity, Trace
from parity.verdicts import FORMULA_LIMIT, PRECISION_FACTOR, Arrays

WIDER = {
    "nn.InstanceNorm": (
        2.5,
        "PyTorch computes every element of this norm in float64 on a CPU, jaxtrain its statistics only",
    )
}
"""How many times PyTorch's error ours may be where 1.5 is not enough, and why."""

WIDER_FORMULA = {
    "nn.hardsigmoid": (1e-7, "in float64 PyTorch multiplies the gradient with a slope of 1/6 rounded to float32")
}
"""The largest float64 error where `FORMULA_LIMIT` is not enough, and why."""

DRAWS = (1, 4, 16, 64)
"""After how many draws of an input its precision may pass; after the last it may fail. One that has PyTorch's very
bits, as a maximum has, is enough.
"""


def outcomes(comparisons: Sequence[Comparison]) -> Iterator[Outcome]:
    """What becomes of inputs of one component that PyTorch accepts."""
    for comparison in comparisons:
        if reason := reason_to_refuse(comparison):
            wrong = flaw(comparison)
            yield Outcome(Kind.DIFFERENT if wrong else Kind.REFUSED, str(comparison), wrong or reason)
            continue
        try:
            wrong, wider = difference(comparison)
        except Exception as error:  # Whatever ours raises on one input is a failure; the others still run.
            wrong, wider = f"{type(error).__name__}: {error}", ""
        yield Outcome(Kind.DIFFERENT if wrong else Kind.MATCHED, str(comparison), wrong or wider)


def error_outcomes(comparisons: Sequence[Comparison]) -> Iterator[Outcome]:
    """What becomes of inputs of one component that PyTorch rejects."""
    for comparison in comparisons:
        if reason := without_counterpart(comparison):
            yield Outcome(Kind.WITHOUT_COUNTERPART, str(comparison), reason)
            continue
        wrong = flaw(comparison)
        yield Outcome(Kind.NOT_REJECTED if wrong else Kind.REJECTED, str(comparison), wrong)


def difference(comparison: Comparison) -> tuple[str, str]:
    """What is wrong with ours on an input and on further draws of it, and why its limit is wider; empty if nothing."""
    truth, ours = comparison.run_torch("float64"), comparison.run_ours("float64")
    if missing := sorted(truth.keys() - ours.keys()):
        return f"expected ours to have PyTorch's {missing}, got {sorted(ours)}", ""
    draws = [Draw(truth=_trace(truth), units=_trace(comparison.units(truth)), ours64=_trace(ours))]
    limit, formula_reason = WIDER_FORMULA.get(comparison.component, (FORMULA_LIMIT, ""))
    found = judge(draws, formula_limit=limit)
    counts = numbers(DRAWS)
    for enough in counts if found.passed else ():
        draws += [_draw(comparison.redrawn(number)) for number in range(len(draws) - 1, enough)]
        if enough == 1 < counts[-1] and not _is_the_same(draws[1]):
            continue
        if (found := judge(draws, formula_limit=limit)).passed:
            break
    factor, reason = WIDER.get(comparison.component, (PRECISION_FACTOR, ""))
    if reason and len(draws) > 1 and not found.passed:
        return str(judge(draws, factor=factor).difference or ""), f"{factor:g} times PyTorch's error: {reason}"
    return str(found.difference or ""), f"formula limit {limit:g}: {formula_reason}" if formula_reason else ""


def _is_the_same(draw: Draw) -> bool:
    ours, theirs = draw.ours or {}, draw.torch or {}
    return all(np.array_equal(ours[quantity], values, equal_nan=True) for quantity, values in theirs.items())


def _draw(comparison: Comparison) -> Draw:
    """Both sides in float32."""
    truth = comparison.run_torch("float64")
    return Draw(
        truth=_trace(truth),
        units=_trace(comparison.units(truth)),
        ours=_trace(comparison.run_ours("float32")),
        torch=_trace(comparison.run_torch("float32")),
    )


def _trace(arrays: Arrays) -> Trace:
    return {Quantity(name): values for name, values in arrays.items()}
