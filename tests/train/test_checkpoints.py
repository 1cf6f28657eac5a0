"""A run that is killed goes on where it was, to the last bit."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import optax
import pytest

from jaxtrain import optim, schedules
from jaxtrain.train import Checkpoints, EarlyStopping, Listener, ReduceLROnPlateau, StopRun, TrainState, fit

pytest.importorskip("orbax.checkpoint")


class StopAfter(Listener):
    """Ends a run after an epoch, as a kill between two epochs would."""

    def __init__(self, epoch):
        self.epoch = epoch

    def epoch_ended(self, epoch, entries, state):
        if epoch == self.epoch:
            raise StopRun


def run(net, folder, *others, epochs=4, optimizer=None, **options):
    state = TrainState.create(net.Net(), optimizer or optax.inject_hyperparams(optim.adam)(lr=1e-2), key=7)
    listeners = [
        Checkpoints(folder, **options),
        EarlyStopping("val_loss", patience=50),
        ReduceLROnPlateau("loss", schedules.reduce_lr_on_plateau(1e-2, factor=0.5, patience=0, threshold=0.2)),
        *others,
    ]
    settings = {"batch_size": 16, "validation": net.batch, "progress": False}
    return fit(state, net.loss_fn, net.batch, epochs=epochs, listeners=listeners, **settings)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_resumed_run_ends_with_the_same_bits(net, tmp_path, assert_same, asynchronous):
    through, history = run(net, tmp_path / "a")
    run(net, tmp_path / "b", StopAfter(1), asynchronous=asynchronous)
    resumed, again = run(net, tmp_path / "b", StopAfter(None))
    assert_same(resumed, through)
    assert again == history
    assert len(set(history["lr"])) > 1


def test_a_finished_run_trains_no_more(net, tmp_path, assert_same):
    first, history = run(net, tmp_path, epochs=2)
    second, again = run(net, tmp_path, epochs=2)
    assert_same(first, second)
    assert again == history


def test_which_checkpoints_stay(net, tmp_path):
    class Score(Listener):
        """Epoch 1 is the best."""

        def epoch_ended(self, epoch, entries, state):
            entries["score"] = float(epoch == 1)

    state = TrainState.create(net.Net(), optim.adam())
    saved = Checkpoints(tmp_path, keep_last=2, keep_best="score", mode="max")
    fit(state, net.loss_fn, net.batch, epochs=6, batch_size=40, listeners=[Score(), saved], progress=False)
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [2, 5, 6]


def test_not_every_epoch_but_the_last(net, tmp_path):
    run(net, tmp_path, epochs=5, every=2, keep_last=9)
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [2, 4, 5]


def test_another_run_is_refused(net, tmp_path):
    run(net, tmp_path, epochs=1)
    with pytest.raises(ValueError, match=r"checkpoint .*1 does not fit this run: another network, another optimizer"):
        run(net, tmp_path, epochs=2, optimizer=optax.inject_hyperparams(optim.sgd)(lr=1e-2))
    with pytest.raises(ValueError, match=r"was written with the listeners \['0-EarlyStopping', '1-Reduce.*, got \[\]"):
        fit(
            net.state,
            net.loss_fn,
            net.batch,
            epochs=2,
            batch_size=16,
            listeners=[Checkpoints(tmp_path)],
            progress=False,
        )


def test_without_orbax(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(
        ImportError, match=r"expected Orbax, which is not installed; pip install jaxtrain\[checkpoints\]"
    ):
        Checkpoints(tmp_path)


SCRIPT = Path(__file__).with_name("killed.py")


def test_killed_again_and_again_the_run_ends_with_the_same_bits(tmp_path):
    def start(folder, moment):
        folder = tmp_path / folder
        folder.mkdir(exist_ok=True)
        root = str(Path(__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": root}
        done = subprocess.run([sys.executable, SCRIPT, folder, moment], env=environment, check=False)
        return done.returncode, folder

    code, through = start("through", "never")
    assert code == 0
    for moment in ("while-saving-0", "during-step-7", "before-saving-4"):
        code, killed = start("killed", moment)
        assert (moment, code) == (moment, -signal.SIGKILL)
        assert not (killed / "end.npz").exists()
    code, killed = start("killed", "never")
    assert code == 0
    expected, found = (np.load(folder / "end.npz") for folder in (through, killed))
    assert found.files == expected.files
    assert len(found["epoch"]) == 6
    for name in expected.files:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert (killed / "log.csv").read_text() == (through / "log.csv").read_text()
