"""PyTorch's own configurations of its optimizers: a part of them matches, and bad ones are rejected by name."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch

from jaxtrain import optim
from parity.runner import run
from parity.torch_inputs import optimizers, registry, rejections, torch_databases
from parity.torch_inputs.outcome import Kind, Outcome
from parity.verdicts import FORMULA_LIMIT

OPTIMIZERS = optimizers.components()


def counted(outcomes: Iterable[Outcome]) -> Counter[Kind]:
    return Counter(outcome.kind for outcome in outcomes)


@pytest.mark.parametrize("component", OPTIMIZERS)
def test_every_error_input_is_rejected_by_its_name(component):
    found = list(rejections.outcomes(component, registry.implementation(component), OPTIMIZERS[component]))
    assert [outcome for outcome in found if outcome.kind == Kind.NOT_REJECTED] == []
    assert counted(found)[Kind.REJECTED] > 0


def test_an_optimizer_that_rejects_nothing_is_noticed():
    found = counted(rejections.outcomes("optim.adam", lambda **arguments: optim.adam(), "Adam"))
    assert found[Kind.NOT_REJECTED] == 5
    assert found[Kind.REJECTED] == 1  # Two groups with one parameter.


def test_an_optimizer_that_rejects_without_a_name_is_noticed():
    def failing(**arguments):
        raise ValueError("bad input")

    found = counted(rejections.outcomes("optim.adam", failing, "Adam"))
    assert found[Kind.NOT_REJECTED] == 6
    assert Kind.REJECTED not in found


def test_an_error_that_names_one_of_two_culprits_is_noticed(monkeypatch):
    def naming_one(*groups, **defaults):
        raise ValueError("two groups match weight")

    monkeypatch.setattr(rejections.optim, "param_groups", naming_one)
    found = counted(rejections.outcomes("optim.adam", optim.adam, "Adam"))
    assert (found[Kind.NOT_REJECTED], found[Kind.REJECTED]) == (1, 5)


@pytest.mark.parametrize("component", ["optim.adagrad", "optim.nadam", "optim.rprop", "optim.sgd"])
def test_the_fullest_configuration_matches(component):
    cases = optimizers.cases(component, OPTIMIZERS[component])
    result = run(max(cases, key=lambda case: len(getattr(case.ours, "keywords", ()))))
    assert result.passed, result.failure


def test_an_optimizer_that_ignores_its_arguments_is_noticed(monkeypatch):
    [case] = [c for c in optimizers.cases("optim.sgd", "SGD") if c.configuration == "optim_db: maximize"]
    monkeypatch.setattr(optimizers, "cases", lambda component, torch_name: [replace(case, ours=optim.sgd, defects={})])
    [outcome, *_] = optimizers.outcomes("optim.sgd", "SGD")
    assert outcome.kind == Kind.DIFFERENT
    assert "optim.sgd[optim_db: maximize]" in outcome.input


def test_the_limit_of_a_sensitive_configuration_is_what_rounding_does_to_torch():
    [found] = [found for found in torch_databases.optimizer_inputs("LBFGS") if found.description == "Tensor lr"]
    case = optimizers.configured("optim.lbfgs", "LBFGS", replace(found, description="another"))
    case = replace(case, problems=case.problems[:8])
    sensitive = optimizers.as_rounding_goes(case)
    assert case.formula_limit == FORMULA_LIMIT < sensitive.formula_limit < 1e-9
    assert "when every gradient is rounded once more" in sensitive.reason
    assert len(sensitive.problems) == 2
    steady = replace(case, reference=lambda parameters: torch.optim.LBFGS(parameters, lr=1))
    assert optimizers.as_rounding_goes(steady).formula_limit == FORMULA_LIMIT


def test_every_configuration_is_accepted(monkeypatch):
    monkeypatch.setattr(optimizers, "as_rounding_goes", lambda case: case)  # It would run L-BFGS seven times.
    made = [case.ours() for component, name in OPTIMIZERS.items() for case in optimizers.cases(component, name)]
    assert len(made) >= 80
