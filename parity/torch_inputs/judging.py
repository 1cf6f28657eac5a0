"""Both verdicts on the inputs of a component."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from parity.torch_inputs.comparison import Comparison
from parity.torch_inputs.outcome import Kind, Outcome
from parity.torch_inputs.refusals import flaw, reason_to_refuse
from parity.trace import Quantity, Trace
from parity.verdicts import FORMULA_LIMIT, PRECISION_FACTOR, errors, formula_verdict

ULP = float(np.finfo(np.float32).eps)
"""What PyTorch's float32 error counts at least: many of these inputs are a handful of numbers, which round by luck."""

WIDER = {
    "nn.BatchNorm": (3.0, "ours sums the variances of a batch in float32, PyTorch in float64"),
    "nn.InstanceNorm": (4.0, "ours sums the gradient of the weight, in which terms cancel, in float32"),
}
"""Components whose float32 error may be a larger multiple of PyTorch's, and why."""


class Runs(NamedTuple):
    """Both sides of a comparison in float64 and in float32, and the units of its errors."""

    ours64: Trace
    ours32: Trace
    torch64: Trace
    torch32: Trace
    units: Trace


def outcomes(comparisons: Sequence[Comparison]) -> Iterator[Outcome]:
    """What becomes of inputs of one component that PyTorch accepts."""
    compared: list[tuple[str, Runs]] = []
    for number, comparison in enumerate(comparisons, 1):
        if number % 200 == 0:
            jax.clear_caches()  # Thousands of compiled programs use up a process's memory maps.
        if reason := reason_to_refuse(comparison):
            wrong = flaw(comparison)
            yield Outcome(Kind.DIFFERENT if wrong else Kind.REFUSED, str(comparison), wrong or reason)
            continue
        try:
            compared.append((str(comparison), runs(comparison)))
        except Exception as error:  # Whatever ours raises on one input is a failure; the others still run.
            yield Outcome(Kind.DIFFERENT, str(comparison), f"{type(error).__name__}: {error}")
    factor, reason = WIDER.get(comparisons[0].component, (PRECISION_FACTOR, "")) if comparisons else (0.0, "")
    wider = f"{factor:g} times torch's error: {reason}" if reason else ""
    for (name, _), wrong in zip(compared, judge([found for _, found in compared], factor), strict=True):
        yield Outcome(Kind.DIFFERENT if wrong else Kind.MATCHED, name, wrong or wider)


def error_outcomes(comparisons: Sequence[Comparison]) -> Iterator[Outcome]:
    """What becomes of inputs of one component that PyTorch rejects."""
    for comparison in comparisons:
        wrong = flaw(comparison)
        yield Outcome(Kind.NOT_REJECTED if wrong else Kind.REJECTED, str(comparison), wrong)


def runs(comparison: Comparison) -> Runs:
    """Both sides, executed."""
    truth = comparison.run_torch("float64")
    found = (
        comparison.run_ours("float64"),
        comparison.run_ours("float32"),
        truth,
        comparison.run_torch("float32"),
        comparison.units(truth),
    )
    return Runs(*({Quantity(name): values for name, values in arrays.items()} for arrays in found))


def judge(compared: Sequence[Runs], factor: float) -> list[str]:
    """What is wrong with each, empty if nothing.

    All share one float32 limit for each result: `factor` times PyTorch's largest error in any of them.
    """
    limits: dict[Quantity, float] = {}
    for found in compared:
        for name, error in _largest_errors(found.torch32, found).items():
            limits[name] = max(limits.get(name, factor * ULP), factor * error)
    return [_wrong(found, limits) for found in compared]


def _wrong(found: Runs, limits: dict[Quantity, float]) -> str:
    if missing := sorted(map(str, found.torch64.keys() - found.ours64.keys())):
        return f"expected ours to have PyTorch's {missing}, got {sorted(map(str, found.ours64))}"
    _, difference = formula_verdict(found.ours64, found.torch64, found.units, FORMULA_LIMIT)
    if difference:
        return str(difference)
    return "; ".join(
        f"{name}: float32 error {error:.1e}, limit {limits[name]:.1e}"
        for name, error in _largest_errors(found.ours32, found).items()
        if not error <= limits[name]
    )


def _largest_errors(results: Trace, found: Runs) -> dict[Quantity, float]:
    return {
        quantity: float(errors(results[quantity], true, found.units[quantity]).max(initial=0.0))
        for quantity, true in found.torch64.items()
    }
