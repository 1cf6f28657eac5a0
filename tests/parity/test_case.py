"""A case in miniature: what its verdicts let pass, what they do not, and which defects it catches."""

from dataclasses import dataclass, field, replace

import jax
import numpy as np
import pytest
import torch

from parity.case import Case, OfTheseInputs
from parity.trace import Quantity

VALUE, OTHER = Quantity("value"), Quantity("output")
X = np.random.default_rng(0).normal(size=(1, 500)).astype(np.float32).astype(np.float64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Squares(Case):
    """x² of many numbers, and twice that."""

    x: np.ndarray = field(default_factory=lambda: X)

    def run_torch(self, dtype):
        squares = torch.tensor(self.x, dtype=getattr(torch, dtype)).square()
        return {VALUE: squares.double().numpy(), OTHER: (2 * squares).double().numpy()}

    def run_ours(self, ours, dtype):
        values = {VALUE: ours(self.x.astype(dtype), dtype)}
        return values if ours is forgetful else values | {OTHER: 2 * values[VALUE]}

    def units(self, truth):
        return {quantity: np.abs(values).max(keepdims=True).ravel() for quantity, values in truth.items()}

    def redrawn(self, number):
        return replace(self, x=np.roll(self.x, number) * (1 - number / 1000))


def right(x, dtype):
    return np.square(x).astype(np.float64)


def forgetful(x, dtype):
    return right(x, dtype)


def off_by(error, dtypes):
    """The right result, off by a relative error in some dtypes."""
    return lambda x, dtype: right(x, dtype) * (1 + (error if dtype in dtypes else 0))


def case(ours=right, **changes):
    return Squares(component="squares", ours=ours, **changes)


def test_what_is_right_passes():
    found = case().measurement
    assert found.passed
    assert found.formula == 0
    assert 0 < found.ours == found.torch < 1e-7


@pytest.mark.parametrize(
    ("error", "dtypes", "passed"),
    [
        (1e-11, ["float64"], False),
        (1e-13, ["float64"], True),
        (3e-7, ["float32"], False),
        (1e-8, ["float32"], True),
        (0.02, ["float32"], False),
        (np.nan, ["float32"], False),
        (np.inf, ["float64"], False),
    ],
)
def test_each_verdict_has_its_limit(error, dtypes, passed):
    found = case(off_by(error, dtypes)).measurement
    assert found.passed == passed
    if not passed:
        assert found.difference.dtype == dtypes[0]


def test_the_second_verdict_may_be_left_out():
    wrong = off_by(1e-3, ["float32"])
    assert case().measure(wrong, formula_only=True).passed
    assert not case().measure(wrong).passed
    assert np.isnan(case().measure(off_by(1e-3, ["float64"])).ours)


def test_one_wrong_element_is_enough():
    def one(x, dtype):
        values = right(x, dtype)
        values[0, 7] *= 1 + 1e-5
        return values

    for precision in ("float64", "float32"):
        wrong = case(lambda x, dtype, own=precision: one(x, dtype) if dtype == own else right(x, dtype))
        assert wrong.measurement.difference.index == (7,)


def test_limits_may_be_wider_for_a_reason():
    with pytest.raises(ValueError, match=r"squares\[defaults\]: expected a reason for the wider limit, got none"):
        case(formula_limit=1e-10)
    with pytest.raises(ValueError, match="expected a reason for the wider limit, got none"):
        case(precision_factor=3.0)
    assert case(off_by(1e-11, ["float64"]), formula_limit=1e-10, reason="it is a test").measurement.passed
    assert not case(off_by(1e-9, ["float64"]), formula_limit=1e-10, reason="it is a test").measurement.passed


def test_a_quantity_that_ours_lacks_is_an_error_and_a_defect_s_may_be_missing():
    with pytest.raises(AssertionError, match=r"squares\[defaults\]: expected ours to have PyTorch's \['output'\], got"):
        _ = case(forgetful).measurement
    assert case().measure(forgetful).passed


def test_results_that_are_constant_are_refused():
    with pytest.raises(ValueError, match=r"squares\[defaults\]: PyTorch's results are constant, so the case could not"):
        _ = case(x=np.ones((1, 5))).measurement


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_the_second_verdict_is_in_the_precision_of_the_case(precision):
    def ours(x, dtype):
        return right(x.astype(np.float32), dtype) if dtype == "float64" else torch_rounded(x)

    def torch_rounded(x):
        return torch.tensor(np.float64(x)).to(getattr(torch, precision)).square().double().numpy()

    class InHalf(Squares):
        def run_ours(self, ours, dtype):
            values = ours(self.x if dtype == "float64" else self.x.astype(np.float32), dtype)
            return {VALUE: values, OTHER: 2 * values}

    made = InHalf(component="squares", ours=lambda x, dtype: right(x, dtype), precision=precision)
    assert made.measurement.passed
    wrong = InHalf(
        component="squares",
        ours=lambda x, dtype: right(x, dtype) if dtype == "float64" else torch_rounded(x) * 1.02,
        precision=precision,
    )
    assert wrong.measurement.difference.dtype == precision


def test_right_arithmetic_is_enough_where_a_case_says_so_and_nothing_less_is():
    """PyTorch's float32 result has one rounding here; only the allowance for every operation lets three pass."""

    class Exact(Squares):
        draws = (4,)

        def run_torch(self, dtype):
            x = torch.tensor(self.x)
            squares = (x * 3 / 3).square() if dtype == "float64" else x.square()
            return {VALUE: squares.numpy(), OTHER: (2 * squares).numpy()}

    def three_roundings(x, dtype):
        three = x.dtype.type(3)
        return np.square(x * three / three).astype(np.float64)

    assert not Exact(component="squares", ours=off_by(1.5e-7, ["float32"])).measurement.passed
    assert Exact(component="squares", ours=three_roundings, right_is_enough=True).measurement.passed
    assert not Exact(component="squares", ours=off_by(1e-6, ["float32"]), right_is_enough=True).measurement.passed


def test_quantities_may_be_without_a_precision_verdict():
    class FormulaOnly(Squares):
        formula_only = (OTHER,)

        def run_ours(self, ours, dtype):
            values = super().run_ours(ours, dtype)
            return values | {OTHER: values[OTHER] * (1.001 if dtype == "float32" else 1)}

    assert FormulaOnly(component="squares", ours=right).measurement.passed
    assert not case().measure(off_by(1e-3, ["float32"])).passed


def test_draws_go_on_while_further_ones_can_change_the_verdict():
    drawn = []

    class Counting(Squares):
        def redrawn(self, number):
            drawn.append(number)
            return super().redrawn(number)

    assert Counting(component="squares", ours=right).measurement.passed
    assert drawn == [1, 2, 3]
    for error, number in [(1.5e-7, 64), (1e-6, 64), (np.inf, 4)]:
        drawn.clear()
        assert not Counting(component="squares", ours=off_by(error, ["float32"])).measurement.passed
        assert drawn == list(range(1, number))


def test_the_largest_error_of_pytorch_may_be_in_a_later_draw():
    """Ours has one in the first, a hundred times its limit there."""

    class Rare(Squares):
        number = 0

        def redrawn(self, number):
            made = super().redrawn(number)
            object.__setattr__(made, "number", number)
            return made

        def run_torch(self, dtype):
            rare = 1e-4 if self.number == 9 and dtype == "float32" else 0
            return {quantity: values * (1 + rare) for quantity, values in super().run_torch(dtype).items()}

        def run_ours(self, ours, dtype):
            rare = 1e-4 if self.number == 0 and dtype == "float32" else 0
            return {quantity: values * (1 + rare) for quantity, values in super().run_ours(ours, dtype).items()}

    assert Rare(component="squares", ours=right).measurement.passed


def test_which_defects_are_caught():
    made = case(
        defects={
            "in float64": off_by(1e-9, ["float64"]),
            "in float32": off_by(1e-6, ["float32"]),
            "none": right,
            "of these inputs": OfTheseInputs(off_by(1e-6, ["float32"])),
        }
    )
    assert [bug for bug in made.defects if not made.catches(bug)] == ["none"]


def test_a_defect_may_promote_what_the_subject_may_not():
    seen = []

    def watching(x, dtype):
        seen.append((jax.config.jax_numpy_dtype_promotion, jax.config.jax_numpy_rank_promotion))
        return right(x, dtype)

    made = case(watching, defects={"none": watching})
    assert made.measurement.passed
    assert set(seen) == {("strict", "raise")}
    seen.clear()
    assert not made.catches("none")
    assert set(seen) == {("standard", "allow")}
