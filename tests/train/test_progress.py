"""What progress looks like, and when a bar is shown."""

import io
import re
import sys
import time
from types import SimpleNamespace

import pytest

from jaxtrain.train import History, Run
from jaxtrain.train.listeners import Bar, Lines
from jaxtrain.train.listeners.progress import progress_listeners
from jaxtrain.train.totals import Partial

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


def test_a_line_is_there_as_soon_as_it_is_printed(monkeypatch):
    """Where a run writes into a file, lines would wait for a full buffer."""
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file))
    Lines().print("epoch 1/2")
    assert file.getvalue() == b"epoch 1/2\n"


def test_a_narrow_terminal_does_not_break_a_line(monkeypatch, capsys, net):
    rich = pytest.importorskip("rich")
    monkeypatch.setattr(rich, "_console", rich.console.Console(force_terminal=True, width=30))
    show(Bar(), net.state)
    assert "epoch 2/3  loss 0.1235  val_accuracy 0.97  lr 1e-05" in capsys.readouterr().out


def test_seconds_are_those_of_each_epoch(monkeypatch, capsys, net):
    clock = iter([100.0, 103.0, 108.5])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    lines = Lines()
    lines.started(Run(range(2), 20, net.state, 0, History()))
    for epoch in range(2):
        lines.epoch_ended(epoch, ENTRIES, net.state)
    assert re.findall(r"epoch (\d)/2 .*  (\S+)s\n", capsys.readouterr().out) == [("1", "3.0"), ("2", "5.5")]


def test_the_bar_is_drawn_now_and_then_with_the_last_metrics(monkeypatch, net):
    pytest.importorskip("rich")
    clock = SimpleNamespace(now=100.0)
    bar, drawn = Bar(), []
    bar.started(Run(range(1), 40, net.state, 0, History()))
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(bar._bar, "update", lambda task, **what: drawn.append((what["completed"], what["description"])))
    for step in range(0, 20, 2):
        bar.took_note(step, {"loss": [0.5, float(step)]})
        clock.now += 0.06
    assert drawn == [(completed, f"loss {completed - 2}") for completed in (2, 6, 10, 14, 18)]
    bar.ended(net.state, None)


def test_the_bar_of_a_run_resumed_within_an_epoch_ends_when_the_run_does(net):
    pytest.importorskip("rich")
    bar = Bar()
    bar.started(Run(range(3, 5), 20, net.state, 3, History(), begun=Partial(13)))
    (task,) = bar._bar.tasks
    assert bar._bar.live.transient  # Nothing of it stays below the lines.
    bar.took_note(73, {"loss": [0.5] * 27})
    bar.epoch_ended(4, ENTRIES, net.state)
    assert (task.completed, task.total) == (27, 27)
    bar.ended(net.state, None)


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


@pytest.mark.parametrize("where", ["terminal", "jupyter"])
def test_a_bar_is_shown_in_a_terminal_and_in_a_notebook(where, monkeypatch):
    rich = pytest.importorskip("rich")
    monkeypatch.setattr(rich, "_console", rich.console.Console(**{f"force_{where}": True}))
    assert [type(one) for one in progress_listeners(True)] == [Bar]


def test_lines_where_there_is_no_terminal_or_no_rich(monkeypatch):
    assert [type(one) for one in progress_listeners(True)] == [Lines]
    monkeypatch.setitem(sys.modules, "rich", None)
    assert [type(one) for one in progress_listeners(True)] == [Lines]
    assert progress_listeners(False) == []
