"""What TensorBoard, Matplotlib and the profiler get of a run."""

import struct
import sys
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
        Curves(tmp_path / "pictures" / "run.png"),
        Profile(tmp_path / "profile"),
    ]
    settings = {"epochs": 3, "batch_size": 40, "validation": net.batch, "progress": False}
    _, history = fit(net.state, net.loss_fn, net.batch, listeners=listeners, **settings)
    found = scalars(tmp_path / "board")
    assert {name for _, name in found} == set(history) - {"epoch"}
    for epoch in range(3):
        assert found[epoch, "val_loss"] == np.float32(history["val_loss"][epoch])
    image = (tmp_path / "pictures" / "run.png").read_bytes()
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
    log.started(Run(range(3, 5), 1, net.state, 3, History()))
    assert made == [((str(tmp_path),), {"purge_step": 3})]


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
    with pytest.raises(ImportError, match=r"expected tensorboardX, which is not installed; pip install jaxtrain\[tens"):
        TensorBoardLog("folder")
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    with pytest.raises(ImportError, match="Curves: expected Matplotlib, which is not installed; pip"):
        Curves("run.png")


def test_axes_are_logarithmic_where_all_is_positive(monkeypatch, tmp_path):
    scales = []
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *_, **__: scales.append([axes.get_yscale() for axes in figure.axes])
    )
    for least in (0.0, 0.5):
        history = History()
        history.append({"epoch": 0, "loss": 1.0, "accuracy": 0.5, "lr": 0.1, "val_loss": least, "val_f1": 0.3})
        curves = Curves(tmp_path / "run.png")
        curves.started(SimpleNamespace(history=history))
        curves.ended(None, None)
    assert scales == [["linear", "linear", "log", "linear"], ["log", "linear", "log", "linear"]]
