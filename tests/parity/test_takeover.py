"""Runs that change the framework: the cases have all options with which PyTorch tests its optimizers."""

import numpy as np
import pytest

from parity.cases.takeover import lbfgs
from parity.cases.takeover.optimizers import OPTIONS, case
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
