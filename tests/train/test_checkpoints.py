"""A run that is killed goes on where it was, to the last bit."""

import contextlib
import os
import signal
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxtrain import optim, schedules
from jaxtrain.train import (
    Average,
    Batches,
    Checkpoints,
    EarlyStopping,
    History,
    Listener,
    ReduceLROnPlateau,
    Run,
    StopRun,
    TrainState,
    fit,
)
from jaxtrain.train.listeners.checkpoint_store import Store

pytest.importorskip("orbax.checkpoint")


class StopAfter(Listener):
    """Ends a run after an epoch, as a kill between two epochs would."""

    def __init__(self, epoch):
        self.epoch = epoch

    def epoch_ended(self, epoch, entries, state):
        if epoch == self.epoch:
            raise StopRun


ADAM = optax.inject_hyperparams(optim.adam)(lr=1e-2)


def run(net, folder, *others, epochs=4, optimizer=ADAM, **options):
    state = TrainState.create(net.Net(), optimizer, key=7)
    listeners = [
        Checkpoints(folder, **options),
        EarlyStopping("val_loss", patience=50),
        ReduceLROnPlateau("loss", schedules.reduce_lr_on_plateau(1e-2, factor=0.5, patience=0, threshold=0.2)),
        *others,
    ]
    settings = {"batch_size": 16, "validation": net.batch, "progress": False}
    return fit(state, net.loss_fn, net.batch, epochs=epochs, listeners=listeners, **settings)


@pytest.mark.parametrize("asynchronous", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_resumed_run_ends_with_the_same_bits(net, tmp_path, assert_same, asynchronous):
    through, history = run(net, tmp_path / "a")
    run(net, tmp_path / "b", StopAfter(1), asynchronous=asynchronous)
    resumed, again = run(net, tmp_path / "b", StopAfter(None))
    assert_same(resumed, through)
    assert again == history
    assert len(set(history["lr"])) > 1


class Crash(Listener):
    """Ends a run after a step, within an epoch: by an error, or by SIGTERM."""

    def __init__(self, step, *, terminate=False):
        self.step, self.terminate = step, terminate

    def dispatched(self, state):
        if int(state.step) == self.step:
            if not self.terminate:
                raise RuntimeError
            os.kill(os.getpid(), signal.SIGTERM)


def by_epoch(net):
    return lambda epoch: Batches(net.batch, 8, shuffle=True, seed=3).epoch(epoch)


@pytest.mark.parametrize("size", [2, None, pytest.param(1, marks=pytest.mark.long)])
def test_a_run_resumed_within_an_epoch_ends_with_the_same_bits(net, tmp_path, assert_same, size):
    """Five steps an epoch: single ones, programs of two, and batches of a function."""
    data = (by_epoch(net),) if size is None else (net.batch,)
    options: dict[str, Any] = {"validation": net.batch, "validation_batch_size": 16, "epochs": 3, "progress": False}
    options |= {"batch_size": 8, "steps_per_dispatch": size} if size else {}

    def go(folder, *others):
        listeners = [*others, Checkpoints(folder, every_steps=2), EarlyStopping("val_loss", patience=50)]
        state = TrainState.create(net.Net(), ADAM, key=7)
        return fit(state, net.loss_fn, *data, listeners=listeners, **options)

    through, history = go(tmp_path / "a")
    folder, begun = tmp_path / "b", []
    # Saved after 2 and 4 steps, then after the epoch; with SIGTERM at once; a crash before an epoch is validated.
    for crash in (Crash(4), Crash(7 if size == 2 else 6, terminate=True), Crash(15)):
        with pytest.raises(SystemExit if crash.terminate else RuntimeError):
            go(folder, Begun(begun), crash)
    resumed, again = go(folder, Begun(begun))
    assert begun == [(0, 0), (0, 2), (1, 2 if size == 2 else 1), (2, 4)]
    assert sorted(path.name for path in (folder / "within").iterdir()) == ["12", "14"]
    assert_same(resumed, through)
    assert again == history


class Begun(Listener):
    """Notes where a run begins: the epoch, and the steps of it that are done."""

    last = True

    def __init__(self, notes):
        self.notes, self.first = notes, True

    def started(self, run):
        self.run = run

    def dispatched(self, state):
        if self.first:
            self.notes.append((self.run.epochs.start, self.run.begun.steps))
        self.first = False


class Terminate(Listener):
    """Sends SIGTERM at the end of an epoch."""

    def epoch_ended(self, epoch, entries, state):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def written(monkeypatch):
    """What a run writes in which folder: the number of a checkpoint, or "closed"."""
    notes, save, close = [], Store.save, Store.close

    def noted(store, number, *args, **options):
        notes.append((store.path(number).parent.name, number))
        save(store, number, *args, **options)

    monkeypatch.setattr(Store, "save", noted)
    monkeypatch.setattr(
        Store, "close", lambda store: notes.append((store.path(0).parent.name, "closed")) or close(store)
    )
    return notes


@pytest.mark.parametrize(
    ("options", "listener", "runs"),
    [
        # Epochs of five steps: the steps of one that is not saved count in the next.
        ({"every": 2, "every_steps": 3}, Listener, [([3, 6, 9], [2])]),
        # The last step of an epoch is saved after the epoch, once.
        ({"every_steps": 5}, Listener, [([], [1, 2])]),
        ({"every_steps": 4}, Listener, [([4, 9], [1, 2])]),
        # A resumed run counts from where it begins. Nothing is saved twice, nor within an epoch that is over.
        ({"every_steps": 2}, lambda: Crash(3), [([2], []), ([4, 7, 9], [1, 2])]),
        ({"every_steps": 3}, lambda: Crash(5, terminate=True), [([3, 5], []), ([8], [1, 2])]),
        ({"every_steps": 2}, lambda: Crash(4, terminate=True), [([2, 4], []), ([7, 9], [1, 2])]),
        ({"every_steps": 3}, lambda: Crash(4, terminate=True), [([3, 4], []), ([8], [1, 2])]),
        ({"every_steps": 3}, Terminate, [([3], [1])]),
        # An epoch that was not due is saved if it is the last one before the end.
        ({"every": 2}, Terminate, [([], [1]), ([], [2])]),
        ({"every": 2, "every_steps": 3}, Terminate, [([3], [1]), ([8], [2])]),
        ({"every": 2}, lambda: Crash(6, terminate=True), [([], []), ([], [2])]),
    ],
)
def test_when_a_run_is_saved(net, tmp_path, written, options, listener, runs):
    settings = {"epochs": 2, "batch_size": 8, "steps_per_dispatch": 1, "progress": False}
    folder, listeners = tmp_path / "new" / "deep" / "run", [listener()]
    for within, epochs in runs:
        written.clear()
        with contextlib.suppress(RuntimeError, SystemExit):
            saved = Checkpoints(folder, asynchronous=False, **options)
            fit(net.state, net.loss_fn, net.batch, listeners=[*listeners, saved], **settings)
        closed = ["closed"] if "every_steps" in options else []
        assert [number for name, number in written if name == "within"] == [*within, *closed]
        assert [number for name, number in written if name == "run"] == [*epochs, "closed"]
        listeners = []


def test_a_checkpoint_within_an_epoch_of_another_length_is_refused(net, tmp_path):
    def go(batch_size, *others):
        listeners = [*others, Checkpoints(tmp_path, every_steps=1)]
        settings = {"batch_size": batch_size, "steps_per_dispatch": 1, "listeners": listeners, "progress": False}
        return fit(TrainState.create(net.Net(), ADAM, key=7), net.loss_fn, net.batch, epochs=1, **settings)

    with pytest.raises(RuntimeError):
        go(16, Crash(2))
    with pytest.raises(
        ValueError,
        match=r"/within/1 was written within an epoch of 3 steps, got epochs of 5; .*, or delete .*/within to go on",
    ):
        go(8)
    assert go(16)[1]["epoch"] == [0]


def test_what_is_being_written_does_not_grow_with_the_history(net, tmp_path, monkeypatch):
    import orbax.checkpoint

    given, save = [], orbax.checkpoint.CheckpointManager.save

    def noted(manager, done, args, **options):
        given.append(args)
        return save(manager, done, args=args, **options)

    monkeypatch.setattr(orbax.checkpoint.CheckpointManager, "save", noted)
    run(net, tmp_path, epochs=3)
    assert [args["about"].item["history"]["epoch"] for args in given] == [[0], [0, 1], [0, 1, 2]]


def test_a_finished_run_trains_no_more(net, tmp_path, assert_same):
    first, history = run(net, tmp_path, epochs=2)
    for epochs in (2, 1):
        last = Begun([])
        second, again = run(net, tmp_path, last, epochs=epochs)
        assert_same(first, second)
        assert again == history
        # TensorBoard forgets what comes after the first epoch of a call.
        assert (last.run.epochs.start, len(last.run.epochs)) == (2, 0)


@pytest.mark.parametrize(
    ("name", "mode", "best"),
    [("score", "max", 2), ("score", "min", 3), ("score_loss", None, 3), ("score_accuracy", None, 2)],
)
def test_which_checkpoints_stay(net, tmp_path, name, mode, best):
    class Score(Listener):
        """Epoch 1 has the highest, epoch 2 the lowest."""

        def epoch_ended(self, epoch, entries, state):
            entries[name] = {1: 2.0, 2: 0.5}.get(epoch, 1.0)

    saved = Checkpoints(tmp_path, keep_last=2, keep_best=name, mode=mode)
    settings = {"epochs": 6, "batch_size": 40, "progress": False}
    fit(net.state, net.loss_fn, net.batch, listeners=[Score(), saved], **settings)
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [best, 5, 6]


def test_what_the_run_does_not_log_cannot_be_the_best(net, tmp_path):
    with pytest.raises(
        KeyError, match=r"Checkpoints: expected one of 'epoch', 'loss', .*, got 'val_bleu'; the run does"
    ):
        run(net, tmp_path, epochs=1, keep_best="val_bleu", mode="max")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_how_both_folders_are_written(net, tmp_path, monkeypatch, asynchronous):
    made = []

    def store(folder, policy, asynchronous):
        made.append((folder.name, asynchronous))
        return SimpleNamespace(latest=None, close=lambda: None)

    monkeypatch.setattr("jaxtrain.train.listeners.checkpoints.Store", store)
    saved = Checkpoints(tmp_path / "run", every_steps=1, asynchronous=asynchronous)
    saved.started(Run(range(1), 5, net.state, 0, History()))
    saved.ended(net.state, None)
    assert made == [("run", asynchronous), ("within", asynchronous)]


@pytest.mark.parametrize(("processes", "expected"), [(1, [0]), (2, [])])
def test_processes_that_end_at_different_steps_save_none(net, tmp_path, monkeypatch, processes, expected):
    written = []

    def store(folder, policy, asynchronous):
        return SimpleNamespace(latest=None, close=lambda: None, save=lambda number, *_: written.append(number))

    monkeypatch.setattr("jaxtrain.train.listeners.checkpoints.Store", store)
    run, saved = Run(range(1), 5, net.state, 0, History()), Checkpoints(tmp_path / "run", every_steps=3)
    saved.started(run)
    run.totals.add({"loss": Average(jnp.float32(1), jnp.int32(1))})
    saved.dispatched(net.state)
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    saved.ended(net.state, SystemExit(143))
    assert written == expected


@pytest.mark.parametrize("late", ["", "wait_until_finished", "close"])
def test_what_cannot_be_written_is_said_and_the_run_goes_on(net, tmp_path, monkeypatch, caplog, late):
    """Orbax says so when it is asked to write, whether it is done, or to close."""
    from orbax.checkpoint import CheckpointManager

    right = getattr(CheckpointManager, late, None)

    def full(*args, **options):
        if late:
            monkeypatch.setattr(CheckpointManager, late, right)
        raise OSError(28, "No space left on device")

    class Fill(Listener):
        def ended(self, state, error):
            if late:
                monkeypatch.setattr(CheckpointManager, late, full)

    if not late:
        monkeypatch.setattr(CheckpointManager, "save", full)
    listeners = [Fill(), Checkpoints(tmp_path, asynchronous=False)]
    settings = {"epochs": 2, "batch_size": 8, "progress": False}
    assert fit(net.state, net.loss_fn, net.batch, listeners=listeners, **settings)[1]["epoch"] == [0, 1]
    message = "{}/{} could not be written ([Errno 28] No space left on device); the run goes on"
    for number in (1, 2):
        assert (message.format(tmp_path, number) in caplog.text) == (number == 2 or not late)


def test_not_every_epoch_but_the_last(net, tmp_path):
    run(net, tmp_path, epochs=5, every=2, keep_last=9)
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [2, 4, 5]


def test_a_run_that_stopped_early_trains_no_more(net, tmp_path, assert_same):
    def constant(model, batch):
        return net.loss_fn(model, batch)[0] * 0 + 1.0

    def stopping(patience):
        state = TrainState.create(net.Net(), optim.adam(0.0))
        listeners = [EarlyStopping("val_loss", patience=patience), Checkpoints(tmp_path, every=5)]
        settings = {"batch_size": 40, "validation": net.batch, "progress": False}
        return fit(state, constant, net.batch, epochs=9, **settings, listeners=listeners)

    first, history = stopping(2)
    assert history["epoch"] == [0, 1, 2]
    again, same = stopping(2)
    assert same == history
    assert_same(again, first)
    _, longer = stopping(4)
    assert longer["epoch"] == [0, 1, 2, 3, 4]
