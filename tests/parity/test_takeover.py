"""Runs that change the framework: the cases have all options with which PyTorch tests its optimizers."""

from dataclasses import replace

import numpy as np
import pytest

from parity import sensitivity
from parity.cases.takeover import lbfgs
from parity.cases.takeover.optimizers import OPTIONS, case
from parity.precision import Draw
from parity.torch_inputs import torch_databases
from parity.torch_inputs.optimizers import plain


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_the_database_has_a_case(name):
    found = [
        {key: round(plain(value), 6) if key == "lr" else value for key, value in given.kwargs.items()}
        for given in torch_databases.optimizer_inputs(name)
    ]
    assert OPTIONS[name] == found


def test_every_optimizer_has_cases():
    """L-BFGS, which takes a closure, has its own ones."""
    assert OPTIONS.keys() == torch_databases.optimizers().keys() - {"LBFGS"}


@pytest.mark.parametrize("begins", ["torch", "jaxtrain"])
def test_both_halves_count(begins):
    """The truth is PyTorch's second half, whose distance counts from the first step."""
    found = case("SGD", {"momentum": 0.9}, begins, "float32")
    assert found.handover == 15
    assert {values.shape[0] for values in found.truth.values()} == {15}
    units = found.units(found.truth)
    for quantity, values in found.truth.items():
        before = found.leaves[quantity.path].initial
        moved = np.abs(values[-1] - before).max(axis=-1)
        assert (units[quantity][-1].squeeze(-1) >= moved).all()
        assert moved.max() > 0


def with_an_error(draw, quantity, row):
    """The draw with an error of ours in one row that no rounding makes elsewhere."""
    ours = {name: values.copy() for name, values in draw.ours.items()}
    ours[quantity][:, row] += 1e-4 * draw.units[quantity][:, row]
    return replace(draw, ours=ours)


@pytest.mark.parametrize("is_subject", [True, False])
def test_an_error_in_one_row_fails_unless_roundings_make_it(is_subject, monkeypatch):
    """The row is measured by PyTorch on the very inputs of the draw, whose rate is the case's own for a defect."""
    monkeypatch.setattr(sensitivity, "RUNS", 3)
    found = case("SGD", {"momentum": 0.9}, "jaxtrain", "float32")
    ours = found.ours if is_subject else lambda *given: found.ours(*given)
    [quantity] = [name for name, values in found.truth.items() if values.ndim == 3]
    draws = [Draw(truth=found.truth, units=found.units(found.truth), ours64=found.truth)]
    draws += [found._draw(number, ours, found.truth) for number in range(3)]
    assert found.judged(draws, ours)[1].passed
    draws[3] = with_an_error(draws[3], quantity, 2)
    left, measurement = found.judged(draws, ours)
    assert measurement.difference.quantity == quantity
    assert left is draws

    problem = found.problem(ours, 2, draws[3], quantity, (4, 2, 1))
    for name, values in sensitivity.part(draws[3].truth, problem.where).items():
        assert values.shape[1] == 1
        np.testing.assert_array_equal(problem.run()[name], values)
    monkeypatch.setattr(sensitivity, "is_by_rounding", lambda *given: True)
    left, measurement = found.judged(draws, ours)
    assert measurement.passed
    assert np.isnan(left[3].truth[quantity]).any(axis=(0, 2)).tolist() == [False, False, True, False, False, False]


def test_the_ring_of_lbfgs_is_full_at_the_handover():
    """Its oldest pair does not lie in the first row, and the truth is the second half of every problem's run."""
    found = lbfgs.CASES[1]
    parameters, optimizer = found.torch_side("float64")
    found.train_torch(parameters, optimizer, found.torch_problems("float64")[0], found.handover)
    [state] = optimizer.state.values()
    size = optimizer.param_groups[0]["history_size"]
    assert len(state["old_dirs"]) == size
    assert state["n_iter"] - 1 > size
    assert {values.shape[0] for values in found.truth.values()} == {lbfgs.PROBLEMS * found.updates // 2}
    units = found.units(found.truth)
    for quantity, values in found.truth.items():
        moved = np.abs(values - found.start[quantity.path]).reshape(len(values), -1).max(axis=1)
        assert (units[quantity] >= moved * (1 - 1e-12)).all()
