"""What TensorBoard, Matplotlib and the profiler get of a run."""

import struct
import sys
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxtrain.train import Curves, History, Profile, Run, StopRun, TensorBoardLog, fit


def scalars(folder):
    """The scalars in the event files of a folder, (step, name): value, in the order in which they were written."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for file in sorted(folder.glob("events*")):
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            found |= {(event.step, value.tag): value.simple_value for value in event.summary.value}
            data = data[16 + length :]
    return found


def test_all_three(net, tmp_path):
    listeners = [
        TensorBoardLog(tmp_path / "board"),
        Curves(tmp_path / "new" / "pictures" / "run.png"),
        Profile(tmp_path / "profile"),
    ]
    settings = {"epochs": 3, "batch_size": 40, "validation": net.batch, "progress": False}
    _, history = fit(net.state, net.loss_fn, net.batch, listeners=listeners, **settings)
    found = scalars(tmp_path / "board")
    assert {name for _, name in found} == set(history) - {"epoch"}
    for epoch in range(3):
        assert found[epoch, "val_loss"] == np.float32(history["val_loss"][epoch])
    image = (tmp_path / "new" / "pictures" / "run.png").read_bytes()
    assert image.startswith(b"\x89PNG")
    assert len(image) > 10_000
    assert len(list((tmp_path / "profile").rglob("*.xplane.pb"))) == 1


def test_a_profile_of_a_run_that_stops_is_ended(net, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))

    class Stop(Curves):
        def epoch_ended(self, epoch, entries, state):
            raise StopRun

    listeners = [Profile(tmp_path), Stop(tmp_path / "run.png")]
    fit(net.state, net.loss_fn, net.batch, epochs=3, batch_size=40, listeners=listeners, progress=False)
    assert calls == ["start", "stop"]


def test_a_resumed_run_purges_what_it_writes_again(net, tmp_path):
    log, made = TensorBoardLog(tmp_path), []
    log._make = lambda *args, **options: made.append((args, options))
    log.started(Run(range(3, 5), 1, net.state, 0, History()))
    assert made == [((str(tmp_path),), {"purge_step": 3, "flush_secs": 1})]


def test_an_epoch_can_be_seen_in_tensorboard_before_the_run_ends(net, tmp_path):
    log = TensorBoardLog(tmp_path)
    log.started(Run(range(2), 1, net.state, 0, History()))
    for epoch in range(2):
        log.epoch_ended(epoch, {"epoch": epoch, "loss": 0.5 + epoch}, net.state)
        expected, limit = {(done, "loss"): 0.5 + done for done in range(epoch + 1)}, time.monotonic() + 30
        while scalars(tmp_path) != expected and time.monotonic() < limit:
            time.sleep(0.05)
        assert scalars(tmp_path) == expected
    log.ended(net.state, None)


@pytest.mark.parametrize("epoch", [1, 2])
def test_the_epoch_that_is_profiled(epoch, net, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    profile = Profile(tmp_path, epoch=epoch)
    for done in range(4):
        profile.epoch_ended(done, {}, net.state)
        calls.append(done)
    profile.ended(net.state, None)
    assert calls == [*range(epoch - 1), "start", epoch - 1, "stop", *range(epoch, 4)]


def test_bad_input(monkeypatch):
    with pytest.raises(ValueError, match="Profile: epoch must be at least 1, got 0"):
        Profile("folder", epoch=0)
    with pytest.raises(ValueError, match=r"Curves: the ending of path must be one of 'eps', .*, got 'xyz'"):
        Curves("run.xyz")
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"expected tensorboardX, which is not installed; pip install 'jaxtrain\["):
        TensorBoardLog("folder")
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    with pytest.raises(ImportError, match="Curves: expected Matplotlib, which is not installed; pip"):
        Curves("run.png")


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draw a history. Return the axes of the picture, or nothing where there is none."""
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))

    def draw(*entries, **options):
        figures.clear()
        history, curves = History(), Curves(tmp_path / "run.png", **options)
        for epoch in entries:
            history.append(epoch)
        curves.started(SimpleNamespace(history=history))
        curves.ended(None, None)
        return [axes for figure in figures for axes in figure.axes]

    return draw


def scales(axes):
    return [one.get_yscale() for one in axes]


def test_axes_are_logarithmic_where_all_is_positive(drawn):
    def entries(loss, held_out):
        return {"epoch": 0, "loss": loss, "accuracy": 0.5, "lr": 0.1, "lr/head": 0.1, "val_loss": held_out, "f1": 0.3}

    mixed, positive = ["linear", "linear", "log", "log", "linear"], ["log", "linear", "log", "log", "linear"]
    assert scales(drawn(entries(1.0, 0.0))) == scales(drawn(entries(0.0, 1.0))) == mixed
    assert scales(drawn(entries(1.0, 0.5))) == scales(drawn(entries(1.0, 0.5), log_scale=True)) == positive
    assert scales(drawn(entries(1.0, 0.5), log_scale=False)) == ["linear"] * 5


def test_each_quantity_is_drawn_with_its_counterpart_over_the_epochs_counted_from_one(drawn):
    axes = drawn(
        {"epoch": 2, "loss": 3.0, "lr": 0.2, "val_loss": 4.0, "val_f1": 0.3},
        {"epoch": 3, "loss": 1.0, "lr": 0.1, "val_loss": 2.0, "val_f1": 0.6},
    )
    lines = [{line.get_label(): line.get_xydata().tolist() for line in one.get_lines()} for one in axes]
    assert lines == [
        {"training": [[3, 3.0], [4, 1.0]], "validation": [[3, 4.0], [4, 2.0]]},
        {"training": [[3, 0.2], [4, 0.1]]},
        {"training": [[3, 0.3], [4, 0.6]]},
    ]
    assert [one.get_ylabel() for one in axes] == ["loss", "lr", "val_f1"]
    assert [one.get_xlabel() for one in axes] == ["", "", "epoch"]
    assert [one.get_legend() is not None for one in axes] == [True, False, False]


def test_a_run_without_an_epoch_has_no_picture(drawn):
    assert drawn() == []


def test_a_picture_that_cannot_be_written_does_not_end_a_run(tmp_path, caplog):
    (tmp_path / "file").write_text("mine")
    history, curves = History(), Curves(tmp_path / "file" / "run.svg")
    history.append({"epoch": 0, "loss": 1.0})
    curves.started(SimpleNamespace(history=history))
    curves.ended(None, None)
    assert f"Curves: {tmp_path}/file/run.svg could not be written" in caplog.text
