"""What progress looks like, and when a bar is shown."""

import re
import sys
import time

import pytest

from jaxtrain.train import History, Run
from jaxtrain.train.listeners import Bar, Lines
from jaxtrain.train.listeners.progress import progress_listeners

ENTRIES = {"epoch": 1, "loss": 0.123456, "val_accuracy": 0.97, "lr": 1e-5}


def show(progress, state):
    progress.started(Run(range(1, 3), 20, state, 1, History()))
    for step in range(20):
        progress.took_note(step, {"loss": [0.5]})
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


def test_seconds_are_those_of_each_epoch(monkeypatch, capsys, net):
    clock = iter([100.0, 103.0, 108.5])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    lines = Lines()
    lines.started(Run(range(2), 20, net.state, 0, History()))
    for epoch in range(2):
        lines.epoch_ended(epoch, ENTRIES, net.state)
    assert re.findall(r"epoch (\d)/2 .*  (\S+)s\n", capsys.readouterr().out) == [("1", "3.0"), ("2", "5.5")]


@pytest.mark.parametrize("steps", [20, None])
def test_the_bar_counts_the_steps_of_this_run(steps, net):
    """A run resumed at epoch 3, step 60: its bar begins at 0, goes on over epochs, and ends when the run does."""
    pytest.importorskip("rich")
    run, bar = Run(range(3, 5), steps, net.state, 3, History()), Bar()
    bar.started(run)
    (task,) = bar._bar.tasks
    assert (task.completed, task.total) == (0, None)
    for epoch in run.epochs:
        for step in range(20):
            assert bar.took_note(20 * epoch + step, {"loss": [0.5]})
        run.steps = 20
        bar.epoch_ended(epoch, ENTRIES, net.state)
        assert (task.completed, task.total) == (20 * (epoch - 2), 40)
    assert task.finished
    bar.ended(net.state, None)
    assert not bar._bar.live.is_started


def test_lines_where_there_is_no_terminal_or_no_rich(monkeypatch):
    assert [type(one) for one in progress_listeners(True)] == [Lines]
    monkeypatch.setitem(sys.modules, "rich", None)
    assert [type(one) for one in progress_listeners(True)] == [Lines]
    assert progress_listeners(False) == []
