"""What progress looks like, and when a bar is shown."""

import re
import sys

import pytest

from jaxtrain.train import History, Run
from jaxtrain.train.listeners import Bar, Lines
from jaxtrain.train.listeners.progress import progress_listeners

ENTRIES = {"epoch": 1, "loss": 0.123456, "val_accuracy": 0.97, "lr": 1e-5}


def show(progress, state):
    progress.started(Run(range(1, 3), 20, state, 1, History()))
    for step in range(20):
        progress.stepped(step, {"loss": 0.5})
    progress.epoch_ended(1, ENTRIES, state)
    progress.ended(state, None)


def test_lines(capsys, net):
    show(Lines(), net.state)
    assert re.fullmatch(r"epoch 2/3  loss 0\.1235  val_accuracy 0\.97  lr 1e-05  \d\.\ds\n", capsys.readouterr().out)


def test_bar(monkeypatch, capsys, net):
    rich = pytest.importorskip("rich")
    monkeypatch.setattr(rich, "_console", rich.console.Console(force_terminal=True, width=120))
    (bar,) = progress_listeners(True)
    assert isinstance(bar, Bar)
    show(bar, net.state)
    out = capsys.readouterr().out
    assert "epoch 2/3  loss 0.1235  val_accuracy 0.97  lr 1e-05" in out
    assert "20/40" in out
    assert "loss 0.5" in out


def test_lines_where_there_is_no_terminal_or_no_rich(monkeypatch):
    assert [type(one) for one in progress_listeners(True)] == [Lines]
    monkeypatch.setitem(sys.modules, "rich", None)
    assert [type(one) for one in progress_listeners(True)] == [Lines]
    assert progress_listeners(False) == []
