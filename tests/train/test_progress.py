"""What progress looks like, and who shows it."""

import re
import sys

import pytest

from jaxtrain.train import Progress
from jaxtrain.train.progress import Bar, Lines, NoProgress, chosen

ENTRIES = {"epoch": 1, "loss": 0.123456, "val_accuracy": 0.97, "lr": 1e-5}


def show(progress):
    progress.start(range(1, 3), 20)
    progress.advance(16, {"loss": 0.5})
    progress.epoch(ENTRIES)
    progress.stop()


def test_lines(capsys):
    show(Lines())
    assert re.fullmatch(r"epoch 2/3  loss 0\.1235  val_accuracy 0\.97  lr 1e-05  \d\.\ds\n", capsys.readouterr().out)


def test_silence(capsys):
    show(NoProgress())
    assert capsys.readouterr().out == ""


def test_bar(monkeypatch, capsys):
    rich = pytest.importorskip("rich")
    monkeypatch.setattr(rich, "_console", rich.console.Console(force_terminal=True, width=120))
    assert isinstance(chosen(True), Bar)
    show(chosen(True))
    out = capsys.readouterr().out
    assert "epoch 2/3  loss 0.1235  val_accuracy 0.97  lr 1e-05" in out
    assert "20/40" in out
    assert "loss 0.5" in out


def test_lines_where_there_is_no_terminal_or_no_rich(monkeypatch):
    assert type(chosen(True)) is Lines
    monkeypatch.setitem(sys.modules, "rich", None)
    assert type(chosen(True)) is Lines


def test_chosen():
    class Mine(NoProgress):
        pass

    mine = Mine()
    assert chosen(mine) is mine
    assert type(chosen(False)) is NoProgress
    assert all(isinstance(kind(), Progress) for kind in (NoProgress, Lines, Bar))
