"""Both verdicts on the inputs of a component."""

from collections.abc import Iterator, Sequence

import jax

from parity.draws import numbers
from parity.judge import judge
from parity.precision import Draw
from parity.torch_inputs.comparison import Comparison
from parity.torch_inputs.outcome import Kind, Outcome
from parity.torch_inputs.refusals import flaw, reason_to_refuse
from parity.trace import Quantity, Trace
from parity.verdicts import Arrays

DRAWS = (4, 16, 64)
"""After how many draws of an input its precision may pass; after the last it may fail."""


def outcomes(comparisons: Sequence[Comparison]) -> Iterator[Outcome]:
    """What becomes of inputs of one component that PyTorch accepts."""
    for number, comparison in enumerate(comparisons, 1):
        if number % 200 == 0:
            jax.clear_caches()  # Thousands of compiled programs use up a process's memory maps.
        if reason := reason_to_refuse(comparison):
            wrong = flaw(comparison)
            yield Outcome(Kind.DIFFERENT if wrong else Kind.REFUSED, str(comparison), wrong or reason)
            continue
        try:
            wrong = difference(comparison)
        except Exception as error:  # Whatever ours raises on one input is a failure; the others still run.
            wrong = f"{type(error).__name__}: {error}"
        yield Outcome(Kind.DIFFERENT if wrong else Kind.MATCHED, str(comparison), wrong)


def error_outcomes(comparisons: Sequence[Comparison]) -> Iterator[Outcome]:
    """What becomes of inputs of one component that PyTorch rejects."""
    for comparison in comparisons:
        wrong = flaw(comparison)
        yield Outcome(Kind.NOT_REJECTED if wrong else Kind.REJECTED, str(comparison), wrong)


def difference(comparison: Comparison) -> str:
    """What is wrong with ours on an input and on further draws of it; empty if nothing is."""
    truth, ours = comparison.run_torch("float64"), comparison.run_ours("float64")
    if missing := sorted(truth.keys() - ours.keys()):
        return f"expected ours to have PyTorch's {missing}, got {sorted(ours)}"
    draws = [Draw(truth=_trace(truth), units=_trace(comparison.units(truth)), ours64=_trace(ours))]
    found = judge(draws)
    for enough in numbers(DRAWS) if found.passed else ():
        draws += [_draw(comparison.redrawn(number)) for number in range(len(draws) - 1, enough)]
        if (found := judge(draws)).passed:
            break
    return str(found.difference or "")


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
