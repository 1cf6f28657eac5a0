"""The command draws, reports and fails as it should, whatever becomes of the mutants."""

import json
from itertools import count

import pytest

from parity.__main__ import main
from parity.mutants import command, reach
from parity.mutants.catching import Verdict
from parity.mutants.equivalent import EQUIVALENT
from parity.mutants.mutants import mutants_of


def mutants_in(module):
    return mutants_of(module, reach.path_of(module).read_text())


def in_clipping():
    return next(mutants_in("jaxtrain.optim.clipping"))


def equivalent():
    """A mutant with an explanation."""
    return next(mutant for mutant in mutants_in(next(iter(EQUIVALENT)).module) if mutant.key in EQUIVALENT)


class NoRecord:
    def tests_of(self, file, lines):
        return ["tests/a.py::test"], []


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch):
    """Neither tests are recorded nor catchers run again."""
    monkeypatch.setattr(command, "record", lambda *_: NoRecord())
    monkeypatch.setattr(command, "check_unchanged", lambda *_: None)


@pytest.mark.parametrize(
    ("mutant", "result", "line", "status", "figures", "cells"),
    [
        (in_clipping, {"caught_by": "a case"}, "caught by a case (1.0 s)", 0, (1, 0, 0, 0), "1 | 0 | 0 | 0 | 100.0%"),
        (in_clipping, {"caught_by": None}, "SURVIVED in `", 1, (0, 0, 0, 1), "0 | 0 | 0 | 1 | 0.0%"),
        (equivalent, {"caught_by": None}, "equivalent: ", 0, (0, 1, 0, 0), "0 | 1 | 0 | 0 | -"),
        (
            equivalent,
            {"caught_by": None, "unfinished": "more than 9 s"},
            "unfinished: more than 9 s (1.0 s)",
            0,
            (0, 0, 1, 0),
            "0 | 0 | 1 | 0 | 0.0%",
        ),
    ],
)
def test_the_command_fails_if_a_mutant_survives_unexplained(
    mutant, result, line, status, figures, cells, monkeypatch, capsys, tmp_path
):
    one = mutant()
    monkeypatch.setattr(command, "sample", lambda *_: [one])
    monkeypatch.setattr(command, "verdict_on", lambda mutant, *_: Verdict(mutant, seconds=1.0, **result))
    files = ["--json", str(tmp_path / "found.json"), "--markdown", str(tmp_path / "found.md")]
    module = reach.path_of(one.module).as_posix()
    assert main(["mutants", module, "--seed", "3", *files]) == status
    printed = capsys.readouterr().out
    possible = len(list(mutants_in(one.module)))
    caught, explained, unfinished, survived = figures
    sentence = (
        f"{caught} of 1 mutants caught, {explained} equivalent, {unfinished} unfinished, {survived} unexplained "
        f"(of {possible} possible)"
    )
    assert line in printed
    assert f"{one.room}: {sentence}\n{sentence}; seed 3, 1 s of CPU time" in printed
    [entry] = json.loads((tmp_path / "found.json").read_text())
    assert (entry["caught_by"], entry["module"]) == (result["caught_by"], one.module)
    table = (tmp_path / "found.md").read_text()
    assert f"| {one.room} | {possible} | 1 | {cells} |" in table
    assert f"| all | {possible} | 1 | {cells} |" in table
    assert (f"- survived: `{one.name}`" in table) == bool(survived)


def test_the_command_changes_only_the_named_files_and_knows_their_checks(monkeypatch, capsys):
    asked, ran = [], []
    monkeypatch.setattr(command, "record", lambda rooms, *_: asked.append(rooms) or NoRecord())
    monkeypatch.setattr(
        command, "verdict_on", lambda mutant, checks, _: ran.append(checks) or Verdict(mutant, checks.near[0], 1.0)
    )
    assert main(["mutants", "optim/clipping.py", "losses/margin.py", "--sample", "2", "--processes", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()[:4]
    modules = [line.split()[1].split(":")[0] for line in lines]
    assert modules == ["jaxtrain.losses.margin", "jaxtrain.optim.clipping"] * 2
    assert asked == [{"losses", "optim"}]
    assert all("caught by tests/a.py::test" in line for line in lines)
    assert "losses.soft_margin_loss" in ran[0].cases


def test_all_tests_of_the_line_run_and_the_cases_of_the_file():
    class Two(NoRecord):
        def tests_of(self, file, lines):
            return ["near", *map(str, lines)], ["far", file.name]

    mutant = in_clipping()
    checks = command.checks_of(mutant, Two())
    assert (checks.near, checks.others) == (["near", *map(str, mutant.lines)], ["far", "clipping.py"])
    assert "optim.clip_grad_norm" in checks.cases


def test_no_mutant_begins_after_the_minutes(monkeypatch, capsys):
    minutes = count()
    monkeypatch.setattr(command.time, "monotonic", lambda: 60.0 * next(minutes))
    monkeypatch.setattr(command, "verdict_on", lambda mutant, *_: Verdict(mutant, "a case", 1.0))
    assert main(["mutants", "optim/clipping.py", "losses/margin.py", "--sample", "9", "--minutes", "4"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[2].startswith("3/18 ")
    for figures in ("losses: 2 of 2 mutants caught", "optim: 1 of 1 mutants caught", "3 of 3 mutants caught"):
        assert f"{figures}, 0 equivalent" in printed


def test_without_a_checkout_the_command_says_what_it_needs(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(command, "TESTS", tmp_path / "tests")
    with pytest.raises(SystemExit):
        main(["mutants"])
    assert "expected a checkout with its tests and pytest-cov" in capsys.readouterr().err
