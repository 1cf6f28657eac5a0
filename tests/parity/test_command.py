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
    ("found", "status", "line"),
    [
        (entries(), 0, "0 of 8 cases failed, 0 of 16 planted defects missed"),
        (entries("second"), 1, "4 of 8 cases failed, 0 of 16 planted defects missed\n  optim.sgd[second]: failed in 4"),
        (entries(missed=["first"]), 1, "4 of 8 cases failed, 4 of 16 planted defects missed\n  optim.sgd[first]"),
    ],
)
def test_a_table_of_seeds_counts_what_fails_in_any(found, status, line, monkeypatch, capsys, tmp_path):
    runs = []

    def run(command, env, **_):
        assert env["XLA_FLAGS"].endswith("AVX2") == ("ATEN_CPU_CAPABILITY" in env)
        runs.append((command[command.index("--seed") + 1], env["XLA_FLAGS"].endswith("AVX2"), env["OMP_NUM_THREADS"]))
        Path(command[command.index("--json") + 1]).write_text(json.dumps(found))

    monkeypatch.setattr(seeds.subprocess, "run", run)
    monkeypatch.setattr(seeds.os, "sched_getaffinity", lambda process: {4, 5})
    assert main(["run", "--seeds", "1", "optim.sgd", "--json", str(tmp_path / "found.json")]) == status
    assert runs == [("0", avx2, threads) for threads in "12" for avx2 in (False, True)]
    assert f"4 settings: {line}" in capsys.readouterr().out
    assert list(json.loads((tmp_path / "found.json").read_text())) == [
        f"seed 0, {threads}, {instructions}"
        for threads in ("1 core", "2 cores")
        for instructions in ("all instructions", "AVX2")
    ]


def test_seeds_end_after_some_minutes_and_say_how_long_all_take(monkeypatch, capsys):
    clock = iter(range(0, 10_000, 60))  # Each look at it is a minute later than the last.
    monkeypatch.setattr(seeds.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(seeds.os, "sched_getaffinity", lambda process: {4, 5})

    def run(command, **_):
        Path(command[command.index("--json") + 1]).write_text(json.dumps(entries(missed=["first"])))

    monkeypatch.setattr(seeds.subprocess, "run", run)
    assert main(["run", "--seeds", "20", "--minutes", "4", "optim.sgd"]) == 1
    printed = capsys.readouterr().out
    assert "| 1 core, all instructions | 2 | 2 of 4 | 2 of 8 |\n| 1 core, AVX2 | 1 | 1 of 2 | 1 of 4 |" in printed
    assert "5 of 80 settings in 6.0 minutes; all take about 96." in printed


def test_minutes_are_for_seeds_only(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--minutes", "4"])
    assert "--minutes: expected --seeds with it, got none" in capsys.readouterr().err


def test_a_run_that_ends_early_is_not_a_run_without_failures(monkeypatch):
    done = subprocess.CompletedProcess([], 1, stderr="Killed")
    monkeypatch.setattr(seeds.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(RuntimeError, match="1 core, all instructions: expected a run of the cases, got\nKilled"):
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
