"""A case: one configuration of one component, its PyTorch counterpart, and the bugs that it must catch."""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, ClassVar, Self

import jax
import numpy as np
import torch
from torch.torch_version import TorchVersion

from parity.draws import numbers
from parity.judge import judge
from parity.precision import Draw
from parity.references.missing_kernels import Float32WhereMissing
from parity.references.rounded_operations import RoundedOperations
from parity.sensitivity import Problem, judged_apart
from parity.trace import Quantity, Trace
from parity.verdicts import FORMULA_LIMIT, PRECISION_FACTOR, Measurement, errors, largest_by_chance

COARSE_BITS = 8
"""How much coarser the grid is whose roundings show how far those of float64 go: these are a small part of them."""

COARSE_RUNS = 4


@dataclass(frozen=True)
class OfTheseInputs:
    """A defect that only inputs of such sizes show: on smaller or rounder ones it is the right implementation."""

    defect: Any


@dataclass(frozen=True, eq=False, kw_only=True)
class Case(ABC):
    """One row of the report.

    Attributes:
        component: public name below `jaxtrain`, such as `optim.adam`.
        configuration: what distinguishes this case from the component's others.
        ours: the implementation under test; what it is depends on the kind of case.
        defects: wrong implementations by the name of their bug. Each must fail one of the two verdicts. Wrapped in
            `OfTheseInputs`, a defect is not planted where other inputs are put in place of the case's.
        formula_limit: largest float64 error, in units.
        precision_factor: largest float32 error, relative to PyTorch's own.
        precision: the dtype of the second verdict.
        reason: why a limit is wider than usual; printed in the report.
        right_is_enough: whether an error may also be as large as PyTorch's in float64 with a rounding after every
            operation: to the precision for the second verdict, to float64 for the first. That is right, but PyTorch's
            own kernels are often more exact. On a GPU or TPU every case may be so far off in the second verdict:
            quotients, roots and exponentials are not always rounded to the nearest there.
        amplifies: whether a part of a draw, its `problem`, may take rounding much further than all others do. Such a
            part is judged apart.
        draws: after how many draws of the inputs the second verdict may pass; after the last it may fail. A mean
            square of few errors can be over its limit by chance, and PyTorch's largest error may be yet to come, so
            there are more draws until both are below, unless an error is infinite.
        formula_only: quantities without a precision verdict.
        torch_since: the PyTorch that the reference needs, if not every one that this package runs with has it.
        inputs_in: the fields that hold what a seed draws.
        products: how much of float32 factors the device uses in matrix products and convolutions, by JAX's name; a CPU
            uses all of it.
    """

    component: str
    configuration: str = "defaults"
    ours: Any
    defects: Mapping[str, Any] = field(default_factory=dict)
    formula_limit: float = FORMULA_LIMIT
    precision_factor: float = PRECISION_FACTOR
    precision: str = "float32"
    reason: str = ""
    right_is_enough: bool = False
    amplifies: bool = False

    torch_since: str = ""
    products: str = "highest"

    draws: ClassVar[tuple[int, ...]] = (4, 16, 64)
    inputs_in: ClassVar[tuple[str, ...]] = ()
    formula_only: ClassVar[Collection[Quantity]] = ()

    def __post_init__(self) -> None:
        if (self.formula_limit > FORMULA_LIMIT or self.precision_factor > PRECISION_FACTOR) and not self.reason:
            raise ValueError(f"{self.name}: expected a reason for the wider limit, got none")

    @property
    def name(self) -> str:
        return f"{self.component}[{self.configuration}]"

    @property
    def is_here(self) -> bool:
        """Whether the PyTorch that runs has the reference."""
        return not self.torch_since or TorchVersion(torch.__version__) >= self.torch_since

    @abstractmethod
    def run_torch(self, dtype: str) -> Trace:
        """PyTorch's results in `dtype`."""

    @abstractmethod
    def run_ours(self, ours: Any, dtype: str) -> Trace:
        """The results of `ours` (the subject or a defect) in `dtype`; there may be more than PyTorch has."""

    @abstractmethod
    def units(self, truth: Trace) -> Trace:
        """The unit of each array of the truth, by step or by element."""

    @abstractmethod
    def redrawn(self, number: int) -> Self:
        """The case with other inputs of the same kind."""

    def with_other_rate(self, number: int) -> Self:
        """The case with the learning rate of a draw, on both sides; itself if it has none."""
        del number
        return self

    def with_inputs_of(self, other: Self) -> Self:
        """The case with what another seed drew for it; its functions stay, and so do their compiled programs."""
        return replace(self, **{name: getattr(other, name) for name in self.inputs_in})

    @cached_property
    def truth(self) -> Trace:
        truth = self.run_torch("float64")
        if not any(np.ptp(values[np.isfinite(values)]) > 0 for values in truth.values() if np.isfinite(values).any()):
            raise ValueError(f"{self.name}: PyTorch's results are constant, so the case could not fail")
        return truth

    @cached_property
    def torch_rounded(self) -> Trace:
        """PyTorch's results in the case's precision."""
        try:
            return self.run_torch(self.precision)
        except NotImplementedError:
            # Only then: PyTorch's own overrides forget arguments, the weight of l1_loss for one.
            with Float32WhereMissing(self.precision):
                return self.run_torch(self.precision)

    @cached_property
    def measurement(self) -> Measurement:
        """Both verdicts on the subject."""
        return self.measure(self.ours)

    def measure(self, ours: Any, *, formula_only: bool = False) -> Measurement:
        """Both verdicts on an implementation; the second is skipped if the first fails, or if `formula_only`."""
        found = self._run_ours(ours, "float64")
        if ours is self.ours and (missing := [str(name) for name in self.truth if name not in found]):
            raise AssertionError(f"{self.name}: expected ours to have PyTorch's {missing}, got {list(map(str, found))}")
        # A borrowed defect may lack what the subject must have, such as a state under PyTorch's name.
        truth = {quantity: values for quantity, values in self.truth.items() if quantity in found}
        draws = [Draw(truth=truth, units=self.units(truth), ours64=found)]
        measurement = self._judge(draws)
        if self.right_is_enough and not measurement.passed:
            draws = [replace(draws[0], by_rounding=self._by_rounding(truth))]
            measurement = self._judge(draws)
        for enough in () if formula_only or not measurement.passed else numbers(self.draws):
            draws += [self._draw(number, ours, truth.keys()) for number in range(len(draws) - 1, enough)]
            draws, measurement = self.judged(draws, ours)
            difference = measurement.difference
            if not difference or math.isinf(difference.error):
                break
        return measurement

    def _run_ours(self, ours: Any, dtype: str) -> Trace:
        with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision(self.products):
            return self.run_ours(ours, dtype)

    def in_precision(self) -> list[Draw]:
        """Both sides in low precision, on the draws with which the second verdict begins."""
        return [self._draw(number, self.ours, self.truth.keys()) for number in range(numbers(self.draws)[0])]

    def judged(self, draws: list[Draw], ours: Any) -> tuple[list[Draw], Measurement]:
        """What of the draws of an implementation is compared, and the verdicts on it."""
        if not self.amplifies:
            return draws, self._judge(draws)
        return judged_apart(draws, self._judge, partial(self.problem, ours), self.precision_factor, self.precision)

    def problem(self, ours: Any, number: int, draw: Draw, quantity: Quantity, at: tuple[int, ...]) -> Problem:
        """The part of a draw of an implementation that has this element and is judged apart: here, the whole draw."""
        del quantity, at
        return Problem(dict.fromkeys(draw.truth, slice(None)), partial(self.of_draw(number, ours).run_torch, "float64"))

    def _judge(self, draws: Sequence[Draw]) -> Measurement:
        return judge(draws, formula_limit=self.formula_limit, factor=self.precision_factor, dtype=self.precision)

    def _by_rounding(self, truth: Trace) -> dict[Quantity, float]:
        """How far rounding alone takes right float64 implementations apart, by quantity.

        PyTorch runs in float64 with a rounding after every operation to a grid that is coarser by some bits; its errors
        are as many times larger than rounding to float64 makes them.
        """
        units, spread = self.units(truth), {}
        for seed in range(COARSE_RUNS):
            with RoundedOperations("float64", seed, COARSE_BITS):
                moved = self.run_torch("float64")
            for quantity, true in truth.items():
                error = float(errors(moved[quantity], true, units[quantity]).max(initial=0.0)) / 2**COARSE_BITS
                spread[quantity] = max(spread.get(quantity, 0.0), error)
        return {
            quantity: PRECISION_FACTOR * largest_by_chance(error, COARSE_RUNS * truth[quantity].size)
            for quantity, error in spread.items()
        }

    def of_draw(self, number: int, ours: Any) -> Self:
        """The case with the inputs of a draw, for one implementation.

        A planted defect keeps its learning rate, and so does what it is compared with.
        """
        case = self.redrawn(number) if number else self
        return case.with_other_rate(number) if number and ours is self.ours else case

    def _draw(self, number: int, ours: Any, compared: Collection[Quantity]) -> Draw:
        """The results of both sides in low precision, as far as they are compared."""
        case = self.of_draw(number, ours)
        found = case._run_ours(case.ours if ours is self.ours else ours, self.precision)
        truth = {q: values for q, values in case.truth.items() if q in compared and q not in self.formula_only}
        moved = None
        if self.right_is_enough or jax.default_backend() != "cpu":
            with RoundedOperations(self.precision, number):
                moved = case.run_torch("float64")
        return Draw(truth=truth, units=case.units(truth), ours=found, torch=case.torch_rounded, moved=moved)

    def catches(self, defect: str) -> bool:
        """Whether the planted defect fails a verdict."""
        wrong = self.defects[defect]
        # Only the subject must keep to strict modes.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return not self.measure(wrong.defect if isinstance(wrong, OfTheseInputs) else wrong).passed
