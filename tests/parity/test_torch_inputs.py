"""PyTorch's own test inputs: all are enumerated, a spread of them matches, and each verdict can fail."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial, wraps

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jaxtrain import losses, nn, optim
from parity.__main__ import main
from parity.runner import run
from parity.torch_inputs import judging, optimizers, registry, rejections, runner, torch_databases
from parity.torch_inputs.comparison import FunctionComparison, LayerComparison
from parity.torch_inputs.outcome import Kind
from parity.torch_inputs.refusals import REFUSALS, flaw, reason_to_refuse
from parity.torch_inputs.torch_databases import Call, ModuleInput

SPREAD = 2
"""About how many inputs of a component run here; `python -m parity inputs` runs all."""

COMPONENTS = registry.components()
OPTIMIZERS = optimizers.components()


def comparisons_of(component):
    return [found for entry in COMPONENTS[component] for found in registry.comparisons(component, entry)]


def kinds(outcomes):
    return [outcome.kind for outcome in outcomes]


def on_l1_loss(ours, input=(0.5, -2.0, 3.0), target=(0.0, 1.0, 2.0)):
    """`ours` against PyTorch's `l1_loss`, on one input."""
    arrays = torch.tensor(input, requires_grad=True), torch.tensor(target)
    inputs = Call(arrays, {"reduction": "sum"})
    return FunctionComparison(
        component="losses.l1_loss", source="nn.functional.l1_loss", ours=ours, theirs=F.l1_loss, inputs=inputs
    )


def test_nothing_of_the_databases_is_missing():
    assert [name for name in [*COMPONENTS, *OPTIMIZERS] if registry.implementation(name) is None] == []
    assert {"losses.ctc_loss", "losses.kl_div", "nn.BatchNorm", "nn.feature_dropout"} <= COMPONENTS.keys()
    assert len(OPTIMIZERS) == 15


def test_an_entry_without_a_component_is_a_failure(monkeypatch):
    monkeypatch.setattr(registry, "component_of", lambda entry: None)
    assert "nn.HuberLoss" in registry.components()
    assert runner.findings_on("nn.HuberLoss").failures == ["nn.HuberLoss: expected a component for it, got none"]


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_spread_of_the_inputs_matches(component):
    comparisons = comparisons_of(component)
    errors = [found for entry in COMPONENTS[component] for found in registry.error_comparisons(component, entry)]
    outcomes = [
        *judging.outcomes(comparisons[:: -(-len(comparisons) // SPREAD)]),
        *judging.error_outcomes(errors),
    ]
    assert [o for o in outcomes if o.kind in (Kind.DIFFERENT, Kind.NOT_REJECTED)] == []
    assert Kind.MATCHED in kinds(outcomes)
    assert kinds(outcomes).count(Kind.REJECTED) == len(errors)


@pytest.mark.parametrize(
    ("component", "option", "default"),
    [("losses.huber_loss", "delta", 1.0), ("losses.kl_div", "log_target", False)],
)
def test_an_ignored_option_is_noticed(component, option, default, monkeypatch):
    function = registry.implementation(component)

    @wraps(function)
    def ignoring(**arguments):
        return function(**{name: value for name, value in arguments.items() if name != option})

    monkeypatch.setattr(registry, "implementation", lambda name: ignoring)
    noticing = next(c for c in comparisons_of(component) if c.given.get(option) not in (None, default))
    assert kinds(judging.outcomes([noticing])) == [Kind.DIFFERENT]


def l1_loss_scaled(factor):
    """A loss whose float64 result is off by a factor, while its float32 result is right."""

    @wraps(losses.l1_loss)
    def scaled(**arguments):
        loss = losses.l1_loss(**arguments)
        return loss * factor if loss.dtype == jnp.float64 else loss

    return scaled


@pytest.mark.parametrize(("error", "kind"), [(2e-12, Kind.DIFFERENT), (2e-13, Kind.MATCHED)])
def test_the_formula_verdict_has_its_limit(error, kind):
    [outcome] = judging.outcomes([on_l1_loss(l1_loss_scaled(1 + error))])
    assert outcome.kind == kind
    assert ("limit 1e-12" in outcome.reason) == (kind == Kind.DIFFERENT)


def test_errors_count_against_the_largest_result_of_the_input():
    units = on_l1_loss(losses.l1_loss).units({"value": np.array([[0.25, -4.0, np.inf]]), "gradient": np.array([[0.5]])})
    assert {name: unit.tolist() for name, unit in units.items()} == {"value": [4.0], "gradient": [4.0]}


def test_the_precision_verdict_has_its_limit():
    """Twice PyTorch's largest error in any of the inputs."""

    def runs(ours, theirs):
        truth, unit = {"value": np.ones((1, 2))}, {"value": np.ones(1)}
        return judging.Runs(
            truth, {"value": np.array([[1.0, ours]])}, truth, {"value": np.array([[theirs, 1.0]])}, unit
        )

    exact, rough = runs(1 + 1.9e-5, 1.0), runs(1.0, 1 + 1e-5)
    assert judging.judge([exact, rough], 2.0) == ["", ""]
    assert judging.judge([exact], 2.0) == ["value: float32 error 1.9e-05, limit 2.4e-07"]
    assert judging.judge([runs(1 + 2.1e-5, 1.0), rough], 2.0) == ["value: float32 error 2.1e-05, limit 2.0e-05", ""]
    assert judging.judge([runs(np.nan, 1.0)], 2.0) == ["value: float32 error inf, limit 2.4e-07"]


def test_a_wrong_gradient_of_a_right_value_is_noticed():
    @wraps(losses.l1_loss)
    def detached(**arguments):
        loss = losses.l1_loss(**arguments)
        return 2 * loss - jax.lax.stop_gradient(loss)

    [outcome] = judging.outcomes([on_l1_loss(detached)])
    assert outcome.kind == Kind.DIFFERENT
    assert "gradient of input" in outcome.reason


def test_a_result_that_ours_lacks_is_noticed():
    truth = {"value": np.ones((1, 2)), "running_mean": np.ones((1, 2))}
    value = {"value": truth["value"]}
    [wrong] = judging.judge([judging.Runs(value, value, truth, truth, dict.fromkeys(truth, np.ones(1)))], 2.0)
    assert wrong == "expected ours to have PyTorch's ['running_mean'], got ['value']"


def test_refusing_everything_is_noticed():
    @wraps(losses.l1_loss)
    def refusing(**arguments):
        raise ValueError("l1_loss: expected something else")

    [outcome] = judging.outcomes([on_l1_loss(refusing)])
    assert outcome.kind == Kind.DIFFERENT
    assert outcome.reason == "ValueError: l1_loss: expected something else"


@pytest.mark.parametrize(
    ("error", "wrong"),
    [
        (None, "expected an error, got a result"),
        (ValueError("l1_loss: expected arrays of one shape"), ""),
        (TypeError("l1_loss: expected numbers"), ""),
        (TypeError("add got incompatible shapes for broadcasting"), "expected an error that begins with"),
        (ValueError("mse_loss: expected arrays of one shape"), "expected an error that begins with"),
        (KeyError("l1_loss: expected"), "expected a ValueError or a TypeError, got KeyError"),
    ],
)
def test_only_an_error_that_names_the_component_is_a_rejection(error, wrong):
    @wraps(losses.l1_loss)
    def failing(**arguments):
        if error:
            raise error
        return losses.l1_loss(**arguments)

    comparison = on_l1_loss(failing)
    assert flaw(comparison).startswith(wrong)
    assert bool(flaw(comparison)) == bool(wrong)
    assert kinds(judging.error_outcomes([comparison])) == [Kind.NOT_REJECTED if wrong else Kind.REJECTED]


def batch_norm_of(examples):
    constructor = Call((5,), {"affine": False})
    inputs = ModuleInput(constructor, Call((torch.ones(examples, 5),), {}), training=True)
    return LayerComparison(
        component="nn.BatchNorm", source="nn.BatchNorm1d", ours=nn.BatchNorm, theirs=torch.nn.BatchNorm1d, inputs=inputs
    )


def test_the_input_alone_decides_what_is_refused(monkeypatch):
    empty, full = batch_norm_of(0), batch_norm_of(3)
    assert reason_to_refuse(empty) == "an empty batch, which has no statistics"
    assert reason_to_refuse(full) == ""
    assert kinds(judging.outcomes([empty])) == [Kind.REFUSED]

    class Accepting(nn.BatchNorm):
        def __call__(self, input):
            return input

    [outcome] = judging.outcomes([replace(empty, ours=Accepting)])
    assert (outcome.kind, outcome.reason) == (Kind.DIFFERENT, "expected an error, got a result")


def test_every_refusal_has_an_input():
    named = {component for refusal in REFUSALS for component in refusal.components}
    found = {reason_to_refuse(comparison) for component in sorted(named) for comparison in comparisons_of(component)}
    assert found - {""} == {refusal.reason for refusal in REFUSALS}


@pytest.mark.parametrize("component", OPTIMIZERS)
def test_every_error_input_is_rejected_by_its_name(component):
    found = list(rejections.outcomes(component, registry.implementation(component), OPTIMIZERS[component]))
    assert [outcome for outcome in found if outcome.kind == Kind.NOT_REJECTED] == []
    assert Kind.REJECTED in kinds(found)


def test_an_optimizer_that_rejects_nothing_is_noticed():
    found = kinds(rejections.outcomes("optim.adam", lambda **arguments: optim.adam(), "Adam"))
    assert found.count(Kind.NOT_REJECTED) == 5
    assert found.count(Kind.REJECTED) == 1  # Two groups with one parameter.


def test_an_optimizer_that_rejects_without_a_name_is_noticed():
    def failing(**arguments):
        raise ValueError("bad input")

    found = kinds(rejections.outcomes("optim.adam", failing, "Adam"))
    assert found.count(Kind.NOT_REJECTED) == 6
    assert Kind.REJECTED not in found


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


def test_every_configuration_is_accepted():
    made = [case.ours() for component, name in OPTIMIZERS.items() for case in optimizers.cases(component, name)]
    assert len(made) >= 80


def test_the_command_prints_figures_reasons_and_its_status(capsys, tmp_path):
    files = ["--markdown", str(tmp_path / "table.md"), "--json", str(tmp_path / "figures.json")]
    assert main(["inputs", "nn.layer_norm", *files]) == 0
    printed = capsys.readouterr().out
    assert "nn.layer_norm: 6 inputs, 5 run, 5 matched" in printed
    assert "1 refused: a negative eps, which is a mistake here" in printed
    assert "| `nn.layer_norm` | 6 | 5 | 5 | 0 | 0 | 0 |" in (tmp_path / "table.md").read_text()
    entries = json.loads((tmp_path / "figures.json").read_text())
    assert [entry["outcome"] for entry in entries].count("matched") == 5
    assert {entry["component"] for entry in entries} == {"nn.layer_norm"}


def test_several_at_a_time_find_the_same(monkeypatch):
    monkeypatch.setattr(runner, "workers", ThreadPoolExecutor)  # Threads need not import everything again.
    names = ["nn.layer_norm", "nn.local_response_norm"]
    found = list(runner.findings(names, processes=2))
    assert [one.component for one in found] == names
    assert found == list(runner.findings(names))
    assert pickle.loads(pickle.dumps((runner.findings_on, found))) == (runner.findings_on, found)


def test_a_failure_fails_the_command(monkeypatch, capsys):
    monkeypatch.setattr(registry, "implementation", lambda name: partial(nn.layer_norm, eps=0.1))
    assert main(["inputs", "nn.layer_norm"]) == 1
    assert "FAIL nn.functional.layer_norm(input=(1, 2), normalized_shape=(2,), weight" in capsys.readouterr().out


def test_a_release_without_a_database_is_told_plainly(monkeypatch):
    monkeypatch.setattr(torch_databases, "import_module", lambda path: object())
    with pytest.raises(
        torch_databases.DatabaseMissing, match=r"PyTorch \S+ has no torch.testing\S+common_modules.module_db"
    ):
        torch_databases.modules()
