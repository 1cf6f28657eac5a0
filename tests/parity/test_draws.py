"""Further draws of the inputs of a case."""

import re
import subprocess
import sys
from itertools import combinations

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch

from parity import draws
from parity.cases import all_cases
from parity.draws import decided, redrawn
from parity.subjects.loss import LossCase

X = np.random.default_rng(0).normal(size=1000).astype(np.float32)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_draw_changes_each_number_by_a_quarter_at_most(precision):
    x = X.astype(ml_dtypes.finfo(precision).dtype).astype(np.float32)
    draws = [redrawn(x, number, precision) for number in range(1, 20)]
    ratios = np.array(draws) / x
    assert (ratios.min(), ratios.max()) == (pytest.approx(0.75, abs=0.01), pytest.approx(1.0, abs=0.01))
    assert len(np.unique(ratios[:, 0])) > 10
    for draw in draws:
        np.testing.assert_array_equal(draw, draw.astype(ml_dtypes.finfo(precision).dtype).astype(np.float32))


def test_the_first_draw_is_the_array_itself():
    np.testing.assert_array_equal(redrawn(X, 0, "float32"), X)


def test_ties_grids_signs_and_integers_stay():
    assert redrawn(X, 3, "float32")[7] == redrawn(X[7], 3, "float32") == -redrawn(-X[7], 3, "float32")
    grid = np.array([0.0, 1.0, -1.0, 0.25, -3.75, np.inf, np.nan])
    np.testing.assert_array_equal(redrawn(grid, 3, "float32"), grid)
    np.testing.assert_array_equal(redrawn(np.arange(5), 3, "float32"), np.arange(5))


def test_rows_that_rounding_would_decide_give_way_to_the_first_other_row():
    x, y = np.array([1.0, 2.0, -3.0, 0.0, 5.0]), np.array([1.0001, 2.0, -3.1, 0.0, 5.0003])
    names = np.array(list("abcde"))

    def compared(x, y, _):
        yield x, y
        yield np.array([0, 0, 0, 1, 1]), np.array([1, 1, 1, 1, 1])

    left, right, rows = decided((x, y, np.arange(5)), compared, "float32")
    assert "".join(names[rows]) == "bbcdb"
    np.testing.assert_array_equal((left, right), ([2, 2, -3, 0, 2], [2, 2, -3.1, 0, 2]))
    assert "".join(names[decided((x, y, np.arange(5)), compared, "bfloat16")[2]]) == "bbbdb"


def test_a_case_keeps_clear_of_where_rounding_decides():
    x = np.append(X, np.float32(1 + 2**-20))
    options = {
        "component": "loss",
        "ours": lambda x: jnp.where(x > 1, x, 0),
        "reference": lambda x: torch.where(x > 1 + 2**-19, x, 0),
        "inputs": [(x,)],
    }
    assert not LossCase(**options).measurement.passed
    assert LossCase(**options, compared=lambda x: [(x, np.ones_like(x))]).measurement.passed


def test_another_draw_of_a_case_has_other_results_of_the_same_shapes():
    for name in (
        "losses.mse_loss[plain]",
        "optim.sgd[defaults]",
        "optim.get_swa_avg_fn[defaults]",
        "nn.Linear[square]",
    ):
        case = next(case for case in all_cases() if case.name == name)
        other = case.redrawn(1)
        assert other.truth.keys() == case.truth.keys()
        for quantity, values in case.truth.items():
            assert other.truth[quantity].shape == values.shape
        assert any((other.truth[quantity] != values).any() for quantity, values in case.truth.items())


def test_the_arrays_of_a_case_are_independent():
    """A bias with the numbers of a row of the kernel cancels it for some inputs, and hides a kernel in its place."""
    for case in all_cases():
        if isinstance(case, LossCase):
            for arrays in case.inputs:
                floats = [array.ravel() for array in arrays if np.size(array) > 2 and array.dtype == np.float32]
                for one, other in combinations(floats, 2):
                    size = min(one.size, other.size)
                    assert one.size == other.size or np.any(one[:size] != other[:size]), case.name


def test_a_seed_shifts_the_inputs_of_the_tables():
    program = (
        "from parity import draws; draws.use(draws.Drawing(1000)); from parity.cases import all_cases;"
        "print(next(case for case in all_cases() if case.name == 'losses.mse_loss[plain]').inputs[1][0][:2].tolist())"
    )
    shifted = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    plain = next(case for case in all_cases() if case.name == "losses.mse_loss[plain]")
    here = str(plain.inputs[1][0][:2].tolist())
    assert shifted.strip() != here
    assert re.sub(r"-?\d+\.\d+", "number", shifted.strip()) == re.sub(r"-?\d+\.\d+", "number", here)


def test_a_seed_goes_on_with_the_draws(monkeypatch):
    """Inputs that no table draws are others as well."""
    later = redrawn(X, 6, "float32")
    monkeypatch.setattr(draws._Process, "drawing", draws.Drawing(seed=5))
    np.testing.assert_array_equal(redrawn(X, 1, "float32"), later)
    np.testing.assert_array_equal(redrawn(X, 0, "float32"), X)


def test_a_seed_after_the_tables_is_refused():
    all_cases()
    with pytest.raises(RuntimeError, match="expected no tables of cases yet"):
        draws.use(draws.Drawing(1000))
