"""PyTorch's databases of test inputs: all are enumerated, a spread of them runs, and a missing one is named."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps

import pytest

from jaxtrain import optim
from parity.runner import run
from parity.torch_inputs import __main__ as command
from parity.torch_inputs import optimizers, registry, rejections, runner, torch_databases
from parity.torch_inputs.verdict import judge

SPREAD = 2
"""About how many inputs of a component run here; `python -m parity.torch_inputs` runs all."""

COMPONENTS = registry.components()
OPTIMIZERS = list(torch_databases.optimizers())


def trials_of(component):
    return [trial for entry in COMPONENTS[component] for trial in registry.trials(component, entry)]


def test_nothing_of_the_databases_is_missing():
    assert [name for name in COMPONENTS if registry.implementation(name) is None] == []
    assert {"losses.ctc_loss", "losses.kl_div", "nn.BatchNorm", "nn.feature_dropout"} <= COMPONENTS.keys()
    assert [name for name in OPTIMIZERS if not hasattr(optim, optimizers.our_name(name))] == []


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_spread_of_the_inputs_matches(component):
    trials = trials_of(component)
    errors = [trial for entry in COMPONENTS[component] for trial in registry.error_trials(component, entry)]
    verdict = judge(component, trials[:: -(-len(trials) // SPREAD)], errors)
    assert verdict.failures == []
    assert verdict.matched == verdict.run > 0
    assert verdict.rejected == verdict.errors == len(errors)


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

    def given(trial):
        return dict(trial.arguments("float32")[0]).get(option)

    noticing = next(trial for trial in trials_of(component) if given(trial) not in (None, default))
    assert judge(component, [noticing]).matched == 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_error_input_is_rejected_by_its_name(name):
    verdict = rejections.judge(f"optim.{name}", getattr(optim, optimizers.our_name(name)), name)
    assert verdict.failures == []
    assert verdict.rejected + verdict.without_counterpart.total() == verdict.errors > 0


def test_an_optimizer_that_rejects_nothing_is_noticed():
    verdict = rejections.judge("optim.adam", lambda **arguments: optim.adam(), "Adam")
    assert len(verdict.failures) == 5
    assert verdict.rejected == 1  # Two groups with one parameter.


@pytest.mark.parametrize("name", ["Adagrad", "NAdam", "Rprop", "SGD"])
def test_the_fullest_configuration_matches(name):
    result = run(max(optimizers.cases(name), key=lambda case: len(getattr(case.ours, "keywords", ()))))
    assert result.passed, result.failure


def test_every_configuration_is_accepted():
    made = [case.ours() for name in OPTIMIZERS for case in optimizers.cases(name)]
    assert len(made) >= 80


def test_the_command_prints_figures_reasons_and_its_status(capsys, tmp_path):
    assert command.main(["nn.layer_norm", "--markdown", str(tmp_path / "table.md")]) == 0
    printed = capsys.readouterr().out
    assert "nn.layer_norm: 6 inputs, 5 run, 5 matched" in printed
    assert "1 refused: a negative eps, which is a mistake here" in printed
    assert "| `nn.layer_norm` | 6 | 5 | 5 | 0 | 0 | 0 |" in (tmp_path / "table.md").read_text()


def test_several_at_a_time_find_the_same(monkeypatch):
    monkeypatch.setattr(runner, "workers", ThreadPoolExecutor)  # Threads need not import everything anew.
    names = ["nn.layer_norm", "nn.local_response_norm"]
    verdicts = list(runner.verdicts(names, processes=2))
    assert [verdict.component for verdict in verdicts] == names
    assert verdicts == list(runner.verdicts(names))
    assert pickle.loads(pickle.dumps((runner.verdict_on, verdicts))) == (runner.verdict_on, verdicts)


def test_a_failure_fails_the_command(monkeypatch, capsys):
    monkeypatch.setattr(registry, "implementation", lambda name: partial(optim.sgd))
    assert command.main(["nn.layer_norm"]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_a_release_without_a_database_is_told_plainly(monkeypatch):
    monkeypatch.setattr(torch_databases, "import_module", lambda path: object())
    with pytest.raises(
        torch_databases.DatabaseMissing, match=r"PyTorch \S+ has no torch.testing\S+common_modules.module_db"
    ):
        torch_databases.modules()
