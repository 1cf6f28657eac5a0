"""Folders of checkpoints: what does not fit a run is refused, and no two runs share one."""

import os
import re
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from jaxtrain import optim
from jaxtrain.train import Checkpoints, EarlyStopping, Listener, StopRun, TrainState, fit
from jaxtrain.train.listeners.checkpoint_files import FolderLock, check_shapes

pytest.importorskip("orbax.checkpoint")


def run(net, folder, *others, epochs, optimizer=optim.adam):
    state = TrainState.create(net.Net(), optax.inject_hyperparams(optimizer)(lr=1e-2))
    listeners = [Checkpoints(folder), EarlyStopping("loss", patience=50), *others]
    return fit(state, net.loss_fn, net.batch, epochs=epochs, batch_size=16, listeners=listeners, progress=False)


def test_what_a_killed_run_left_half_written_is_removed(net, tmp_path):
    half = tmp_path / "7.orbax-checkpoint-tmp"
    half.mkdir()
    settings = {"epochs": 1, "batch_size": 8, "progress": False}
    fit(net.state, net.loss_fn, net.batch, listeners=[Checkpoints(tmp_path)], **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_another_run_is_refused(net, tmp_path):
    run(net, tmp_path, epochs=1)
    with pytest.raises(
        ValueError,
        match=r"/1 does not fit this run: state/opt_state/.*: \(.*\) in the checkpoint, nothing in the run; ",
    ):
        run(net, tmp_path, epochs=2, optimizer=optim.sgd)
    settings = {"epochs": 2, "batch_size": 16, "progress": False}
    with pytest.raises(ValueError, match=r"was written with the listeners \['0-EarlyStopping'\], got \[\]"):
        fit(net.state, net.loss_fn, net.batch, listeners=[Checkpoints(tmp_path)], **settings)


@pytest.mark.parametrize(
    ("number", "named", "more"), [(1, 1, ""), (3, 3, ""), (4, 3, " and 1 more"), (6, 3, " and 3 more")]
)
def test_the_first_arrays_that_differ_are_named(number, named, more):
    saved = {f"layer{i}": np.zeros((2, i)) for i in range(6)}
    ours = {name: array if i >= number else array.T[:, :1] for i, (name, array) in enumerate(saved.items())}
    differences = [f"layer{i}: (2, {i}) in the checkpoint, ({i}, 1) in the run" for i in range(named)]
    with pytest.raises(ValueError, match=re.escape(f"does not fit this run: {'; '.join(differences)}{more}. Use the")):
        check_shapes(Path("1"), saved, ours)
    check_shapes(Path("1"), saved, saved)


def test_damaged_foreign_and_newer_checkpoints(net, tmp_path):
    run(net, tmp_path, epochs=2)
    data = max((tmp_path / "2" / "arrays" / "d").iterdir(), key=lambda file: file.stat().st_size)
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"got .*/2, which cannot be read .*; delete it to go on from .*/1$"):
        run(net, tmp_path, epochs=3)
    data.write_bytes(whole)
    about = tmp_path / "2" / "about" / "metadata"
    text = about.read_text()
    about.write_text(text.replace('"format": 1', '"format": 9'))
    with pytest.raises(ValueError, match=r"expected a checkpoint in format 1, got .*/2 in format 9; read it with the"):
        run(net, tmp_path, epochs=3)
    about.write_text("[]")
    with pytest.raises(ValueError, match=r"expected a checkpoint in format 1, got .*/2 in format \[\]"):
        run(net, tmp_path, epochs=3)
    about.write_text(text)
    assert run(net, tmp_path, epochs=3)[1]["epoch"] == [0, 1, 2]


def test_two_runs_on_one_folder_are_refused(net, tmp_path):
    class Second(Listener):
        def epoch_ended(self, epoch, entries, state):
            with pytest.raises(ValueError, match=r"a folder that no other run uses, got .*; wait for that run"):
                run(net, tmp_path / "a", epochs=1)
            raise StopRun

    _, history = run(net, tmp_path / "a", Second(), epochs=2)
    assert history["epoch"] == [0]
    assert run(net, tmp_path / "a", Listener(), epochs=1)[1]["epoch"] == [0]


def test_a_folder_is_locked_for_one_run_and_let_go(tmp_path, monkeypatch):
    pytest.importorskip("fcntl")

    def free():
        """The lowest number of a file that is not open."""
        number = os.dup(0)
        os.close(number)
        return number

    first = FolderLock(tmp_path / "new" / "a")
    before = free()
    FolderLock(tmp_path / "new" / "b").release()
    for _ in range(2):
        with pytest.raises(ValueError, match="a folder that no other run uses"):
            FolderLock(tmp_path / "new" / "a")
    monkeypatch.setattr(jax, "process_index", lambda: 1)  # Another process of the same run.
    FolderLock(tmp_path / "new" / "a").release()
    monkeypatch.undo()
    assert free() == before
    for _ in range(2):
        first.release()
    FolderLock(tmp_path / "new" / "a").release()


def test_a_file_is_not_a_folder(net, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=f"Checkpoints: expected a folder, got the file {tmp_path}/file; choose"):
        run(net, tmp_path / "file", epochs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_orbax(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint.checkpoint_managers", None)
    with pytest.raises(
        ImportError, match=r"expected Orbax, which is not installed; pip install 'jaxtrain\[checkpoints\]'"
    ):
        Checkpoints(tmp_path)
