"""PyTorch's own test inputs: all are enumerated, a spread of them matches, and each verdict can fail."""

import json
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial, wraps
from itertools import combinations
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jaxtrain import losses, nn
from parity.__main__ import main
from parity.torch_inputs import judging, optimizers, registry, runner, torch_databases
from parity.torch_inputs.comparison import FunctionComparison, LayerComparison
from parity.torch_inputs.outcome import Findings, Kind, Outcome
from parity.torch_inputs.refusals import REFUSALS, flaw, reason_to_refuse
from parity.torch_inputs.sequence_comparison import SequenceComparison
from parity.torch_inputs.torch_databases import Call, ModuleInput

SPREAD = 2
"""About how many inputs of a component run here; `python -m parity inputs` runs all."""

PAGE = Path(__file__).parents[2] / "docs" / "torch-inputs.md"

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


def spread_components():
    """Losses, functions of `nn` and Transformers are marked as long: they have cases, and losses are drawn as well."""
    long = re.compile(r"losses\.|nn\.[a-z]|nn\.Transformer")
    return [pytest.param(one, marks=pytest.mark.long if long.match(one) else []) for one in COMPONENTS]


def admitted(component):
    """How many inputs of a component are less accurate than PyTorch, by the page."""
    row = re.search(rf"^\| `{re.escape(component)}` \| \d+ \| (\d+) \| (\d+) ", PAGE.read_text(), re.MULTILINE)
    return int(row[1]) - int(row[2]) if row else 0


@pytest.mark.parametrize("component", spread_components())
def test_a_spread_of_the_inputs_matches(component):
    comparisons = comparisons_of(component)
    spread = 1 if isinstance(comparisons[0], SequenceComparison) else SPREAD  # Their programs compile slowly.
    outcomes = list(judging.outcomes(comparisons[:: -(-len(comparisons) // spread)]))
    # Only what the page admits, and no formula.
    wrong = [o for o in outcomes if o.kind is Kind.DIFFERENT]
    assert all("root mean square error" in o.reason for o in wrong)
    assert len(wrong) <= admitted(component), wrong
    assert Kind.MATCHED in kinds(outcomes)


def test_every_error_input_of_a_loss_or_layer_is_rejected():
    errors = [
        found
        for component, entries in COMPONENTS.items()
        if not re.match(r"nn\.[a-z]", component)
        for entry in entries
        for found in registry.error_comparisons(component, entry)
    ]
    outcomes = judging.error_outcomes(errors)
    assert len(errors) >= 30
    assert [o for o in outcomes if o.kind not in (Kind.REJECTED, Kind.WITHOUT_COUNTERPART)] == []


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


def in_float32(change):
    """A loss whose float32 result is changed, while its float64 result is right."""

    @wraps(losses.l1_loss)
    def changed(**arguments):
        loss = losses.l1_loss(**arguments)
        return loss if loss.dtype == jnp.float64 else change(loss)

    return changed


LONG = {"input": np.random.default_rng(0).normal(size=1000).tolist(), "target": [0.0] * 1000}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda loss: loss, Kind.MATCHED),
        (lambda loss: loss * (1 + 1e-6), Kind.DIFFERENT),
        (lambda loss: loss.astype(jnp.bfloat16).astype(jnp.float32), Kind.DIFFERENT),
        (lambda loss: loss * jnp.nan, Kind.DIFFERENT),
    ],
)
def test_the_precision_verdict_can_fail(change, kind):
    [outcome] = judging.outcomes([on_l1_loss(in_float32(change), **LONG)])
    assert outcome.kind == kind
    assert ("float32 ulp apart" in outcome.reason) == (kind == Kind.DIFFERENT)


def test_each_input_has_limits_of_its_own():
    """An input on which PyTorch errs does not excuse another."""
    rough = on_l1_loss(losses.l1_loss, **LONG)
    found = judging.outcomes([rough, on_l1_loss(in_float32(lambda loss: loss * (1 + 1e-6)), **LONG), rough])
    assert kinds(found) == [Kind.MATCHED, Kind.DIFFERENT, Kind.MATCHED]


def test_a_draw_has_other_numbers_and_the_same_call():
    comparison = on_l1_loss(losses.l1_loss, (0.3, -2.7, 3.1))
    other = comparison.redrawn(1)
    assert (other.inputs.args[0].abs() < comparison.inputs.args[0].abs()).all()
    assert other.inputs.args[0].requires_grad
    assert not other.inputs.args[1].requires_grad
    assert (other.inputs.args[1] == comparison.inputs.args[1]).all()  # Integers in a float type stay.
    assert other.inputs.kwargs == comparison.inputs.kwargs
    layer = norm_of(torch.randn(3, 5, requires_grad=True))
    results = [found.run_torch("float64") for found in (layer, replace(layer, seed=1), layer.redrawn(1))]
    for first, second in combinations(results, 2):
        assert (first["running_mean"] != second["running_mean"]).all()
    assert (results[0]["value"] == results[1]["value"]).all()


def test_a_failure_has_been_drawn_again_and_again(monkeypatch):
    drawn, draw = [], judging._draw
    monkeypatch.setattr(judging, "_draw", lambda comparison: drawn.append(comparison) or draw(comparison))
    judging.difference(on_l1_loss(in_float32(lambda loss: loss * (1 + 1e-6)), (0.3, -2.7, 3.1)))
    numbers = {tuple(comparison.inputs.args[0].tolist()) for comparison in drawn}
    assert len(numbers) == len(drawn) == judging.DRAWS[-1]


def test_a_wrong_gradient_of_a_right_value_is_noticed():
    @wraps(losses.l1_loss)
    def detached(**arguments):
        loss = losses.l1_loss(**arguments)
        return 2 * loss - jax.lax.stop_gradient(loss)

    [outcome] = judging.outcomes([on_l1_loss(detached)])
    assert outcome.kind == Kind.DIFFERENT
    assert "gradient of input" in outcome.reason


def test_a_result_that_ours_lacks_is_noticed():
    class Forgetting(FunctionComparison):
        def run_ours(self, dtype):
            return {"value": super().run_ours(dtype)["value"]}

    [outcome] = judging.outcomes([Forgetting(**vars(on_l1_loss(losses.l1_loss)))])
    assert outcome.kind == Kind.DIFFERENT
    assert outcome.reason == "expected ours to have PyTorch's ['gradient of input'], got ['value']"


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
        (ValueError("loss: expected arrays of one shape"), "expected an error that begins with"),
        (ValueError(": expected arrays of one shape"), "expected an error that begins with"),
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


def norm_of(input, ours=nn.BatchNorm, theirs=torch.nn.BatchNorm1d):
    constructor = Call((5,), {"affine": False})
    inputs = ModuleInput(constructor, Call((input,), {}), training=True)
    return LayerComparison(
        component=f"nn.{ours.__name__}", source=f"nn.{theirs.__name__}", ours=ours, theirs=theirs, inputs=inputs
    )


def test_the_input_alone_decides_what_is_refused(monkeypatch):
    norms = nn.InstanceNorm, torch.nn.InstanceNorm1d
    single, batch = norm_of(torch.ones(5, 4), *norms), norm_of(torch.ones(3, 5, 4), *norms)
    assert reason_to_refuse(single) == "one example without an axis of examples"
    assert reason_to_refuse(batch) == ""
    assert kinds(judging.outcomes([single])) == [Kind.REFUSED]

    class Accepting(nn.InstanceNorm):
        def __call__(self, input):
            return input

    [outcome] = judging.outcomes([replace(single, ours=Accepting)])
    assert (outcome.kind, outcome.reason) == (Kind.DIFFERENT, "expected an error, got a result")


def test_every_refusal_has_an_input():
    named = {component for refusal in REFUSALS for component in refusal.components}
    found = {reason_to_refuse(comparison) for component in sorted(named) for comparison in comparisons_of(component)}
    assert found - {""} == {refusal.reason for refusal in REFUSALS}


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


def test_findings_count_every_kind_and_each_failure():
    numbers = {
        Kind.MATCHED: 5,
        Kind.REFUSED: 2,
        Kind.DIFFERENT: 1,
        Kind.REJECTED: 4,
        Kind.WITHOUT_COUNTERPART: 3,
        Kind.NOT_REJECTED: 1,
    }
    assert set(numbers) == set(Kind)
    outcomes = [Outcome(kind, f"{kind} {n}", "why") for kind, number in numbers.items() for n in range(number)]
    found = Findings("nn.some", tuple(outcomes))
    assert (found.inputs, found.run, found.errors) == (8, 6, 8)
    assert found.failures == ["different 0: why", "not rejected 0: why"]
    assert found.reasons(Kind.WITHOUT_COUNTERPART) == {"why": 3}


@pytest.mark.long
def test_several_at_a_time_find_the_same(monkeypatch):
    monkeypatch.setattr(runner, "workers", ThreadPoolExecutor)  # Threads need not import everything again.
    names = ["nn.layer_norm", "nn.local_response_norm"]
    found = list(runner.findings(names, processes=2))
    assert [one.component for one in found] == names
    assert found == list(runner.findings(names))
    assert pickle.loads(pickle.dumps((runner.findings_on, found))) == (runner.findings_on, found)


@pytest.mark.long
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
