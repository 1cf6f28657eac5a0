"""`python -m parity`: its commands, names, files and exit status."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch

from jaxtrain import optim
from parity import _compilation, command, draws, runner, seeds
from parity.__main__ import COMMANDS, main
from parity.cases import all_cases
from parity.cases.optim import sgd as table
from parity.cases.optim._table import special_case
from parity.markdown import begin_marker, end_marker, write_markdown
from parity.runner import run_all
from parity.subjects import loss


def test_names_files_and_exit_status(tmp_path, capsys, monkeypatch):
    chosen = []
    monkeypatch.setattr(command, "run_all", lambda cases, number: chosen.append(number) or run_all(cases, number))
    monkeypatch.setattr(command.deviations, "markdown", lambda: "Deviations.\n")  # They are measured elsewhere.
    files = ["--json", str(tmp_path / "a.json"), "--markdown", str(tmp_path / "a.md")]
    names = ["clip_grad_value[clip_value=0.5]", "constant_lr[defaults]"]
    status = main(["run", *names, "--processes", "2", *files])
    entries = json.loads((tmp_path / "a.json").read_text())
    assert status == 0
    assert chosen == [2]
    assert {entry["component"] for entry in entries} == {"optim.clip_grad_value", "schedules.constant_lr"}
    assert entries[0]["missed"] == []
    markdown = (tmp_path / "a.md").read_text()
    assert markdown.splitlines()[2].startswith("| `optim.clip_grad_value` | 1 |")
    assert markdown.splitlines()[2].endswith("| - | - | 2/2 |")
    assert markdown.endswith("Deviations.\n")
    assert "2/2 cases of 2 components passed" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["run"]])
def test_a_failing_case_fails_the_command(arguments, monkeypatch, capsys, tmp_path):
    wrong = special_case("sgd", "wrong", lambda: optim.sgd(0.2), table.SGD[0].reference, defects={})
    blind = special_case("sgd", "blind", optim.sgd, table.SGD[0].reference, defects={"no bug at all": optim.sgd})
    monkeypatch.setattr(command, "all_cases", lambda: [wrong, blind])
    assert main([*arguments, "--json", str(tmp_path / "a.json")]) == 1
    entries = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)  # JSON has no NaN.
    assert [(entry["passed"], entry["error"] is None) for entry in entries] == [(False, True), (False, False)]
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "0/2 cases of 1 components passed, 0/1 planted defects caught" in printed
    assert "planted defects" in printed


def test_a_case_that_raises_fails_and_the_others_go_on(monkeypatch, capsys, tmp_path):
    right = next(case for case in all_cases() if case.name == "schedules.constant_lr[defaults]")
    newer = {"newer": 1}
    broken = special_case(
        "sgd", "broken", optim.sgd, lambda parameters: torch.optim.SGD(parameters, **newer), defects={}
    )
    monkeypatch.setattr(command, "all_cases", lambda: [broken, right])
    assert main(["run", "--json", str(tmp_path / "a.json")]) == 1
    found, other = json.loads((tmp_path / "a.json").read_text())
    assert found["failure"].startswith("TypeError: SGD.__init__() got an unexpected keyword argument 'newer'")
    assert (found["passed"], found["error"], other["passed"]) == (False, None, True)
    assert "1/2 cases" in capsys.readouterr().out


def test_a_case_for_a_newer_pytorch_is_named_and_left_out(monkeypatch, capsys):
    right = next(case for case in all_cases() if case.name == "schedules.constant_lr[defaults]")
    of_the_future = replace(right, configuration="tomorrow", torch_since="99.1")
    monkeypatch.setattr(command, "all_cases", lambda: [of_the_future, replace(right, torch_since="2.9")])
    assert main(["run"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"newer PyTorch than {torch.__version__}: schedules.constant_lr[tomorrow] (99.1)." in printed
    assert "1/1 cases" in printed


def test_products_have_all_bits_and_those_of_the_device_are_told_apart(monkeypatch, capsys):
    case = next(case for case in all_cases() if case.name == "nn.Linear[square]")
    run_ours, used = type(case).run_ours, []

    def rounds(self, ours, dtype):
        used.append(jax.config.jax_default_matmul_precision)
        found = run_ours(self, ours, dtype)
        wrong = dtype == "float32" and used[-1] == "default"
        return {name: values * (1 + 1e-3 * wrong) for name, values in found.items()}

    monkeypatch.setattr(type(case), "run_ours", rounds)
    monkeypatch.setattr(command, "all_cases", lambda: [replace(case, defects={})])
    assert main(["run"]) == 0
    assert set(used) == {"highest"}
    assert "rounds the factors" not in capsys.readouterr().out
    monkeypatch.setattr(runner.jax, "default_backend", lambda: "a device that rounds")
    monkeypatch.setattr(_compilation, "compiler_options", lambda dtype: {})
    assert main(["run"]) == 0
    assert set(used) == {"highest", "default"}
    printed = " ".join(capsys.readouterr().out.split())
    assert "By default this device rounds the factors" in printed
    assert re.search(r"`nn.Linear\[square\]`: ours \S+e-04, torch's \S+, with all bits ours \S+e-08", printed)


@pytest.mark.parametrize("name", ["run", "inputs", "mutants"])
def test_a_name_that_matches_nothing_is_an_error(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "optim.adamm"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert f"python -m parity {name}: error: expected part of the name of" in error
    assert "got 'optim.adamm'; without a name all run" in error


@pytest.mark.parametrize("name", ["run", "inputs", "mutants"])
def test_fewer_than_one_process_is_refused(name, capsys):
    with pytest.raises(SystemExit) as refused:
        main([name, "--processes", "0"])
    assert refused.value.code == 2
    assert "argument --processes: expected a number of at least 1, got 0" in capsys.readouterr().err


def test_a_seed_and_a_number_of_draws_reach_the_cases(monkeypatch):
    monkeypatch.setattr(draws._Process, "drawing", draws.Drawing())
    monkeypatch.setattr(draws.sys, "modules", {})  # As at the start of a process.
    assert main(["run", "schedules.constant_lr[defaults]", "--seed", "3", "--draws", "2"]) == 0
    assert draws.in_use() == draws.Drawing(3, 2)
    assert draws.generator(1).random() == np.random.default_rng(4).random()
    case = next(case for case in all_cases() if case.name == "losses.mse_loss[plain]")
    drawn = []
    monkeypatch.setattr(type(case), "redrawn", lambda self, number: drawn.append(number) or self)
    assert case.measure(case.ours).passed
    assert drawn == [1]


def entries(*failed, missed=()):
    """What a run of two cases writes."""
    return [
        {
            "seed": 0,
            "component": "optim.sgd",
            "configuration": name,
            "passed": name not in failed and name not in missed,
            "defects": ["a", "b"],
            "missed": ["a"] if name in missed else [],
            "failure": "an error" if name in failed else "",
        }
        for name in ("first", "second")
    ]


def test_every_process_draws_as_the_first(monkeypatch):
    monkeypatch.setattr(draws._Process, "drawing", draws.Drawing(number=7))
    with runner.workers(2) as pool:  # None starts before it has something to do.
        processes: Any = pool
        prepare, given = processes._initializer, processes._initargs
    monkeypatch.setattr(draws._Process, "drawing", draws.Drawing())
    monkeypatch.setattr(runner.torch, "set_num_threads", lambda number: None)
    prepare(*given)
    assert draws.in_use() == draws.Drawing(number=7)


@pytest.mark.parametrize(
    ("found", "status", "row"),
    [
        (entries(), 0, "| 2 | 0 of 2 | 0 of 4 |"),
        (entries("second"), 1, "| 2 | 1 of 2 | 0 of 4 |"),
        (entries(missed=["first"]), 1, "| 2 | 1 of 2 | 1 of 4 |"),
    ],
)
def test_a_table_of_seeds_counts_what_fails_within_any_limits(found, status, row, monkeypatch, capsys, tmp_path):
    runs = []

    def run(command, env, **_):
        assert env["XLA_FLAGS"].endswith("AVX2") == ("ATEN_CPU_CAPABILITY" in env)
        Path(command[command.index("--json") + 1]).write_text(json.dumps(found))
        assert command[command.index("run") + 1 : command.index("--json")] == ["optim.sgd", "--seeds", "2", "--here"]
        runs.append((env["NPROC"], env["OMP_NUM_THREADS"], env["XLA_FLAGS"].endswith("AVX2")))

    monkeypatch.setattr(seeds.subprocess, "run", run)
    assert main(["run", "--seeds", "2", "optim.sgd", "--json", str(tmp_path / "found.json")]) == status
    assert runs == [("1", "1", False), ("2", "2", False), ("8", "8", False), ("2", "2", True)]
    limits = [
        "1 thread, all instructions",
        "2 threads, all instructions",
        "8 threads, all instructions",
        "2 threads, AVX2",
    ]
    assert capsys.readouterr().out.endswith("\n".join(f"| {each} {row}" for each in limits) + "\n")
    assert [*json.loads((tmp_path / "found.json").read_text())] == limits


def test_what_fails_is_listed_by_its_seeds(monkeypatch, capsys):
    failing = [entry | {"seed": seed, "failure": f"found by {seed}"} for seed in (3, 5) for entry in entries("first")]
    monkeypatch.setattr(seeds, "_run", lambda *_: failing)
    assert main(["run", "--seeds", "6"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == [
        "1 thread, all instructions: 2 of 4 cases failed, 0 of 8 planted defects missed",
        "  optim.sgd[first], seeds 3, 5: found by 3",
    ]


def test_every_seed_draws_other_inputs_for_the_same_programs(monkeypatch, tmp_path):
    traced = []
    usual = loss.values_and_gradients
    monkeypatch.setattr(loss, "values_and_gradients", lambda *args: traced.append(args) or usual(*args))
    file, numbers = tmp_path / "found.json", []
    for seeds_wanted in ("1", "3"):
        traced.clear()
        arguments = ["losses.l1_loss[weighted]", "--seeds", seeds_wanted, "--here", "--json", str(file)]
        assert main(["run", *arguments]) == 0
        numbers.append(len(traced))
    found = json.loads(file.read_text())
    assert [entry["seed"] for entry in found] == [0, 1, 2]
    assert len({entry["error"] for entry in found}) == 3
    assert numbers[0] == numbers[1] > 0


def test_here_is_for_seeds_only(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--here"])
    assert "--here: expected --seeds with it, got none" in capsys.readouterr().err


def test_a_run_that_ends_early_is_not_a_run_without_failures(monkeypatch):
    done = subprocess.CompletedProcess([], 1, stderr="Killed")
    monkeypatch.setattr(seeds.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(RuntimeError, match="1 thread, all instructions: expected a run of the cases, got\nKilled"):
        main(["run", "--seeds", "1"])


def test_help_lists_the_commands(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["parity", "--help"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert all(f"{name} " in printed for name in COMMANDS)
    assert "--markdown" in printed


def test_a_command_imports_only_its_own_module(monkeypatch):
    imported = []

    class Speed:
        add_arguments = staticmethod(lambda parser: parser.add_argument("--quick", action="store_true"))
        main = staticmethod(lambda options: 7 if options.quick else 0)

    monkeypatch.setattr("parity.__main__.import_module", lambda module: imported.append(module) or Speed)
    assert main(["speed", "--quick"]) == 7
    assert imported == ["parity.speed.command"]


def test_in_a_folder_each_section_goes_to_the_page_with_its_markers(tmp_path):
    marked = f"before\n{begin_marker('b')}\nold\n{end_marker('b')}\nafter\n"
    (tmp_path / "a.md").write_text("text\n")
    (tmp_path / "b.md").write_text(marked)
    write_markdown(tmp_path, b="new\n", c="lost\n")
    assert (tmp_path / "a.md").read_text() == "text\n"
    assert (tmp_path / "b.md").read_text() == marked.replace("old", "new")


def test_a_planted_mistake_of_unknown_name_is_an_error(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["diff", "--bench", "nosuch"])
    assert ended.value.code == 2
    assert "expected part of the name of a planted mistake or its model" in capsys.readouterr().err
