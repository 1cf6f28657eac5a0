"""How many of a component's inputs agree, and what became of the others."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import jax
import numpy as np

from parity.torch_inputs.trials import Trial
from parity.verdicts import FORMULA_LIMIT, PRECISION_FACTOR, Arrays, errors

ULP = float(np.finfo(np.float32).eps)
"""What PyTorch's float32 error counts at least: many of these inputs are a handful of numbers, which round by luck."""

REFUSALS = {
    "must have shape (classes,) or (batch, classes)": "a score without an axis, which PyTorch takes for one class",
    "expected a class for each example": "one class in an array of its own, for one example",
    "eps must lie in": "a negative eps, which is a mistake here",
    "expected a batch, of at least two dimensions": "an array without an axis of channels",
    "training needs at least two values a channel": "an empty batch, which has no statistics",
    "expected the examples along axis 0": "features without an axis of examples, in evaluation",
    "no axis of examples": "one example, of which PyTorch drops whole channels",
    "axis -1 does not exist": "features without any axis, in evaluation",
    "channels along axis 1, got an input of shape": "one example without an axis of examples",
}
"""By a part of our error message, why an input that PyTorch accepts is refused."""

WIDER = {
    "nn.BatchNorm": (3.0, "ours sums the variances of a batch in float32, PyTorch in float64"),
    "nn.InstanceNorm": (4.0, "ours sums the gradient of the weight, in which terms cancel, in float32"),
}
"""Components whose float32 error may be a larger multiple of PyTorch's, and why."""


@dataclass
class Verdict:
    """What was found for one component.

    Attributes:
        component: its name.
        inputs: how many inputs the databases hold.
        matched: how many of them agree in both verdicts.
        refused: how many of them ours refuses on purpose, by reason.
        errors: how many inputs the databases hold that PyTorch rejects.
        rejected: how many of those ours rejects as well.
        without_counterpart: how many of those cannot be told to ours, by reason.
        wider: how many of those that agree do so within wider limits, by limits and reason.
        failures: what is wrong with each of the others.
    """

    component: str
    inputs: int = 0
    matched: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    rejected: int = 0
    without_counterpart: Counter[str] = field(default_factory=Counter)
    wider: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def run(self) -> int:
        return self.inputs - self.refused.total()


def judge(component: str, trials: Sequence[Trial], error_trials: Sequence[Trial] = ()) -> Verdict:
    """Both verdicts on inputs of a component.

    Args:
        component: its name.
        trials: its inputs. They share one float32 limit for each result: PyTorch's largest error in any of them.
        error_trials: the inputs that PyTorch rejects.
    """
    verdict = Verdict(component, errors=len(error_trials))
    references = [_Reference(trial) for trial in trials]
    factor, wider = WIDER.get(component, (PRECISION_FACTOR, ""))
    limits = _limits(references, factor)
    for reference in references:
        verdict.inputs += 1
        if verdict.inputs % 200 == 0:
            jax.clear_caches()  # Thousands of compiled programs use up a process's memory maps.
        try:
            failure = reference.difference(limits)
        except (ValueError, TypeError, AssertionError) as error:
            if reason := next((reason for message, reason in REFUSALS.items() if message in str(error)), None):
                verdict.refused[reason] += 1
                continue
            failure = str(error)
        if failure:
            verdict.failures.append(f"{reference.trial}: {failure}")
        else:
            verdict.matched += 1
            if wider:
                verdict.wider[f"{factor:g} times torch's error: {wider}"] += 1
    for trial in error_trials:
        if trial.rejected():
            verdict.rejected += 1
        else:
            verdict.failures.append(f"{trial}: PyTorch rejects it, ours does not")
    return verdict


class _Reference:
    """PyTorch's results of a trial, and the errors of its float32."""

    def __init__(self, trial: Trial):
        self.trial = trial
        self.truth = trial.run_torch("float64")
        # What cancels in one result leaves the rounding of the others' size.
        self.unit = np.array(max(_largest(array) for array in self.truth.values()))
        self.errors = self.errors_of(trial.run_torch("float32"))

    def errors_of(self, results: Arrays) -> dict[str, float]:
        if missing := self.truth.keys() - results.keys():
            raise AssertionError(f"nothing to compare with PyTorch's {sorted(missing)}")
        return {
            name: float(errors(results[name], array, self.unit).max(initial=0.0)) for name, array in self.truth.items()
        }

    def difference(self, limits: Mapping[str, float]) -> str:
        """Where ours is over a limit; empty if nowhere."""
        formula = self.errors_of(self.trial.run_ours("float64"))
        rounded = self.errors_of(self.trial.run_ours("float32"))
        return "; ".join(
            f"{name}: formula error {formula[name]:.1e}, float32 error {rounded[name]:.1e}, limit {limit:.1e}"
            for name, limit in limits.items()
            if name in self.truth and not (formula[name] <= FORMULA_LIMIT and rounded[name] <= limit)
        )


def _limits(references: Sequence[_Reference], factor: float) -> dict[str, float]:
    """By result, `factor` times PyTorch's largest float32 error."""
    limits: dict[str, float] = {}
    for reference in references:
        for name, error in reference.errors.items():
            limits[name] = max(limits.get(name, factor * ULP), factor * error)
    return limits


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
