"""A case: one configuration of one component, its PyTorch counterpart, and the bugs that it must catch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np

from parity.verdicts import (
    FORMULA_LIMIT,
    PRECISION_FACTOR,
    Arrays,
    Measurement,
    formula_verdict,
    precision_verdict,
    within_range,
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Case(ABC):
    """One row of the report.

    Attributes:
        component: public name below `jaxtrain`, such as `optim.adam`.
        configuration: what distinguishes this case from the component's others.
        ours: the implementation under test; what it is depends on the kind of case.
        defects: wrong implementations by the name of their bug. Each must fail one of the two verdicts.
        formula_limit: largest float64 error, in units.
        precision_factor: largest float32 error, relative to PyTorch's own.
        precision: the dtype of the second verdict.
        reason: why a limit is wider than usual; printed in the report.
    """

    component: str
    configuration: str = "defaults"
    ours: Any
    defects: Mapping[str, Any] = field(default_factory=dict)
    formula_limit: float = FORMULA_LIMIT
    precision_factor: float = PRECISION_FACTOR
    precision: str = "float32"
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.formula_limit > FORMULA_LIMIT or self.precision_factor > PRECISION_FACTOR) and not self.reason:
            raise ValueError(f"{self.name}: a wider limit needs a reason")

    @property
    def name(self) -> str:
        return f"{self.component}[{self.configuration}]"

    @abstractmethod
    def run_torch(self, dtype: str) -> Arrays:
        """PyTorch's results in `dtype`, every array with the step as first axis."""

    @abstractmethod
    def run_ours(self, ours: Any, dtype: str) -> Arrays:
        """The results of `ours` (the subject or a defect) in `dtype`, under the same names."""

    @abstractmethod
    def units(self, truth: Arrays) -> Arrays:
        """The unit of each array of the truth, by step or by element."""

    @cached_property
    def truth(self) -> Arrays:
        truth = self.run_torch("float64")
        if not any(np.ptp(values[np.isfinite(values)]) > 0 for values in truth.values() if np.isfinite(values).any()):
            raise ValueError(f"{self.name}: PyTorch's results are constant, so the case could not fail")
        return truth

    @cached_property
    def torch_rounded(self) -> Arrays:
        try:
            return self.run_torch(self.precision)
        except NotImplementedError:  # PyTorch lacks some kernels in half precision, and is then taken to be exact.
            return self.truth

    @cached_property
    def measurement(self) -> Measurement:
        """Both verdicts on the subject."""
        return self.measure(self.ours)

    def measure(self, ours: Any, *, formula_only: bool = False) -> Measurement:
        """Both verdicts on an implementation; the second only if the first one passes and is not all that is asked."""
        with jax.enable_x64(True):
            float64 = self.run_ours(ours, "float64")
        # A borrowed defect may lack what the subject must have, such as a state under PyTorch's name.
        truth = {name: values for name, values in self.truth.items() if name in float64}
        if ours is self.ours and (missing := self.truth.keys() - truth.keys()):
            raise AssertionError(f"{self.name}: nothing to compare with PyTorch's {sorted(missing)}")
        formula, difference = formula_verdict(float64, truth, self.units(truth), self.formula_limit)
        if difference or formula_only:
            return Measurement(formula, np.nan, np.nan, difference)
        with jax.enable_x64(False):
            rounded = self.run_ours(ours, self.precision)
        truth = within_range(truth, self.precision)
        mine, theirs, difference = precision_verdict(
            rounded, self.torch_rounded, truth, self.units(truth), self.precision_factor, self.precision
        )
        return Measurement(formula, mine, theirs, difference)

    def catches(self, defect: str) -> bool:
        """Whether the planted defect fails a verdict."""
        return not self.measure(self.defects[defect]).passed
