"""`python -m parity`: filter, files, exit status."""

import json

import pytest

from jaxtrain import optim
from parity import __main__ as one_command
from parity import command
from parity.cases.optim import sgd as table
from parity.cases.optim._table import case
from parity.runner import run_all
from parity.torch_inputs import command as inputs_command


def test_filter_files_and_exit_status(tmp_path, capsys, monkeypatch):
    chosen = []
    monkeypatch.setattr(command, "run_all", lambda cases, number: chosen.append(number) or run_all(cases, number))
    monkeypatch.setattr(command.deviations, "markdown", lambda: "Deviations.\n")  # They are measured elsewhere.
    files = ["--json", str(tmp_path / "a.json"), "--markdown", str(tmp_path / "a.md")]
    status = command.main(["clip_grad_value[clip_value=0.5]", "--processes", "2", *files])
    entries = json.loads((tmp_path / "a.json").read_text())
    assert status == 0
    assert chosen == [2]
    assert [entry["component"] for entry in entries] == ["optim.clip_grad_value"]
    assert entries[0]["missed"] == []
    markdown = (tmp_path / "a.md").read_text()
    assert markdown.splitlines()[2].startswith("| `optim.clip_grad_value` | 1 |")
    assert markdown.splitlines()[2].endswith("| - | - | 2/2 |")
    assert markdown.endswith("Deviations.\n")
    assert "1/1 cases of 1 components passed" in capsys.readouterr().out


def test_a_failing_case_fails_the_command(monkeypatch, capsys):
    wrong = case("sgd", "wrong", lambda: optim.sgd(0.2), table.SGD[0].reference, defects={})
    blind = case("sgd", "blind", optim.sgd, table.SGD[0].reference, defects={"no bug at all": optim.sgd})
    monkeypatch.setattr(command, "matching", lambda pattern: [wrong, blind])
    assert command.main([]) == 1
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "0/2 cases of 1 components passed, 0/1 planted defects caught" in printed
    assert "planted defects" in printed


def test_a_name_that_matches_nothing_is_an_error(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["optim.adamm"])
    assert stop.value.code == 2
    assert "no case's name contains 'optim.adamm'" in capsys.readouterr().err


@pytest.mark.parametrize("main", [command.main, inputs_command.main])
def test_fewer_than_one_process_is_refused(main, capsys):
    with pytest.raises(SystemExit) as refused:
        main(["--processes", "0"])
    assert refused.value.code == 2
    assert "argument --processes: must be at least 1, got 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "module", "rest"),
    [
        ([], "parity.command", []),
        (["optim.adam", "--processes", "2"], "parity.command", ["optim.adam", "--processes", "2"]),
        (["run", "inputs"], "parity.command", ["inputs"]),
        (["inputs", "losses.mse_loss"], "parity.torch_inputs.command", ["losses.mse_loss"]),
        (["mutants"], "parity.mutants.command", []),
        (["speed", "--quick"], "parity.speed.command", ["--quick"]),
    ],
)
def test_subcommands(given, module, rest, monkeypatch):
    called = []
    monkeypatch.setattr(f"{module}.main", lambda arguments: called.append(arguments) or 7)
    assert one_command.main(given) == 7
    assert called == [rest]
