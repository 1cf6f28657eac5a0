"""Runs that stop, rates that fall, and logs: what listeners do with the entries of the history."""

import csv
import dataclasses
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxtrain import optim, schedules
from jaxtrain.train import (
    CsvLog,
    EarlyStopping,
    History,
    JsonLinesLog,
    Listener,
    ReduceLROnPlateau,
    Run,
    StopRun,
    TrainState,
    fit,
    learning_rates,
    set_learning_rate,
)


class Counter(nnx.Module):
    """Its parameter counts the steps; its metric is looked up by them."""

    def __init__(self):
        self.w = nnx.Param(jnp.zeros(()))
        self.steps = nnx.Variable(jnp.int32(0))


def run(values, *listeners, optimizer=None, name="val_loss", **changes):
    """A run whose epoch e logs `values[e]` under `name`, and after which the parameter is e + 1."""
    lookup = jnp.array(values, jnp.float32)

    def loss_fn(model, batch):
        model.steps[...] += 1
        return -model.w[...]

    def metrics_fn(model, batch):
        return {name.removeprefix("val_"): lookup[model.steps[...] - 1]}

    x = np.zeros((1, 1), np.float32)
    state = TrainState.create(Counter(), optimizer or optim.sgd(1.0))
    settings = {"epochs": len(values), "batch_size": 1, "validation": x, "metrics_fn": metrics_fn, "progress": False}
    return fit(state, loss_fn, x, listeners=listeners, **{**settings, **changes})


@pytest.mark.parametrize(
    ("values", "patience", "mode", "epochs", "best"),
    [
        ([3, 2, 1, 2, 2, 9], 2, "min", 5, 3),
        ([3, 2, 1, 2, 2, 9], 3, "min", 6, 3),
        ([1, 2, 2, 3, 1, 1, 5], 2, "max", 6, 4),
        ([3, 2, 1], 1, "min", 3, 3),
        ([1, 1, 1], 1, "min", 2, 1),
        ([1, 1, 1], 1, "max", 2, 1),
        ([2, np.nan, 1, np.nan, np.nan, 0], 2, "min", 5, 3),
        ([np.nan, np.nan, 1], 2, "min", 2, 2),
    ],
)
def test_when_a_run_stops_and_what_it_returns(values, patience, mode, epochs, best):
    state, history = run(values, EarlyStopping("val_loss", patience=patience, mode=mode))
    assert len(history["epoch"]) == epochs
    assert float(state.params["w"]) == int(state.model_state["steps"]) == best
    last, history = run(values, EarlyStopping("val_loss", patience=patience, mode=mode, restore_best=False))
    assert float(last.params["w"]) == len(history["epoch"]) == epochs


def test_the_best_average_comes_back_with_the_best_parameters():
    listener = EarlyStopping("val_loss", patience=2)
    state = TrainState.create(Counter(), optim.sgd(1.0), average=optim.averaged_model())
    listener.started(Run(range(3), 1, state, 0, History()))
    best = None
    for epoch, value in enumerate([2.0, 1.0, 3.0]):
        state = dataclasses.replace(state, average=jax.tree.map(lambda leaf: leaf + 1, state.average))
        listener.epoch_ended(epoch, {"val_loss": value}, state)
        if value == 1.0:
            best = state.average
    restored = listener.ended(state, None)
    jax.tree.map(np.testing.assert_array_equal, restored.average, best)


def test_what_it_remembers_is_its_own():
    """The next step consumes the state of an epoch, and somebody may go on with the state that it gives back."""
    listener = EarlyStopping("val_loss", patience=2)
    state = TrainState.create(Counter(), optim.sgd(1.0), average=optim.averaged_model())
    listener.started(Run(range(3), 1, state, 0, History()))
    listener.epoch_ended(0, {"val_loss": 1.0}, state)
    waited = listener.memory["waited"]  # A checkpoint may still be reading it.
    listener.epoch_ended(1, {"val_loss": 2.0}, state)
    assert (int(waited), int(listener.memory["waited"])) == (0, 1)
    for used in (state, listener.ended(state, None)):
        for leaf in jax.tree.leaves((used.params, used.model_state, used.average)):
            leaf.delete()
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(listener.memory["weights"]))


def test_a_value_that_stays_the_same_is_no_better_though_the_best_is_kept_in_float32():
    listener = EarlyStopping("val_loss", patience=2)
    state = TrainState.create(Counter(), optim.sgd(1.0))
    listener.started(Run(range(3), 1, state, 0, History()))
    for epoch in range(2):  # 0.1 is below its float32.
        listener.epoch_ended(epoch, {"val_loss": 0.1}, state)
    with pytest.raises(StopRun):
        listener.epoch_ended(2, {"val_loss": 0.1}, state)


def test_which_way_is_up_is_known_or_asked_for():
    assert len(run([1, 2, 3], EarlyStopping("val_accuracy", patience=1), name="val_accuracy")[1]["epoch"]) == 3
    with pytest.raises(ValueError, match="EarlyStopping: expected mode='min' or mode='max' for 'val_bleu', got None"):
        EarlyStopping("val_bleu", patience=1)
    with pytest.raises(ValueError, match="EarlyStopping: mode must be one of 'min', 'max', got 'best'"):
        EarlyStopping("val_loss", patience=1, mode="best")
    with pytest.raises(ValueError, match="EarlyStopping: patience must be at least 1, got 0"):
        EarlyStopping("val_loss", patience=0)


@pytest.mark.parametrize(
    "listener",
    [
        EarlyStopping("val_acuracy", patience=1, mode="max"),
        ReduceLROnPlateau("val_acuracy", schedules.reduce_lr_on_plateau(1.0)),
    ],
)
def test_what_the_run_does_not_log_is_named(listener):
    optimizer = optax.inject_hyperparams(optim.sgd)(lr=1.0)
    with pytest.raises(KeyError, match="expected one of 'epoch', 'loss', 'lr', 'val_loss', got 'val_acuracy'"):
        run([1.0], listener, optimizer=optimizer)


def test_plateau_is_the_rule_by_hand():
    values = [3.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0]
    rule = schedules.reduce_lr_on_plateau(0.5, factor=0.5, patience=1)
    plateau, expected = rule.init(), []
    for value in values:
        expected.append(float(plateau.lr))
        plateau = rule.update(plateau, value)
    assert len(set(expected)) > 1

    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=1.0)
    _, history = run(values, ReduceLROnPlateau("val_loss", rule), optimizer=optimizer)
    assert history["lr"] == expected
    # A run that goes on with what the rule remembers of its first three epochs.
    plateau = rule.init()
    for value in values[:3]:
        plateau = rule.update(plateau, value)
    _, history = run(values[3:], ReduceLROnPlateau("val_loss", rule, plateau), optimizer=optimizer)
    assert history["lr"] == expected[3:]


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.inject_hyperparams(optim.sgd)(lr=0.5),
        optax.chain(optax.clip(1.0), optax.inject_hyperparams(optax.sgd)(learning_rate=0.5)),
    ],
)
def test_a_rate_that_was_set_is_found_again(optimizer):
    state = TrainState.create(Counter(), optimizer)
    changed = set_learning_rate(state, 0.25)
    assert (learning_rates(state), learning_rates(changed)) == ({"lr": 0.5}, {"lr": 0.25})
    assert jax.tree.structure(changed) == jax.tree.structure(state)
    moved, _ = fit(changed, lambda model, x: -model.w[...], np.zeros((1, 1)), epochs=1, batch_size=1, progress=False)
    assert float(moved.params["w"]) == 0.25


@pytest.mark.parametrize(
    "optimizer", [optim.sgd(0.5), optax.sgd(0.5), optax.inject_hyperparams(optax.sgd)(learning_rate=lambda count: 0.5)]
)
def test_a_rate_that_cannot_be_set_is_refused(optimizer):
    with pytest.raises(ValueError, match="set_learning_rate: expected an optimizer that keeps its learning rate as a"):
        set_learning_rate(TrainState.create(Counter(), optimizer), 0.25)


@pytest.mark.parametrize("lr", [-1.0, np.nan, np.ones(2)])
def test_what_is_not_a_rate_is_refused(lr):
    state = TrainState.create(Counter(), optax.inject_hyperparams(optim.sgd)(lr=0.5))
    with pytest.raises(ValueError, match="set_learning_rate: lr must"):
        set_learning_rate(state, lr)
    for use in (lambda: set_learning_rate({}, 0.1), lambda: learning_rates({})):
        with pytest.raises(TypeError, match="state must be a TrainState, see"):
            use()


def test_a_log_that_cannot_be_written_does_not_end_a_run(tmp_path, monkeypatch, caplog):
    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    _, history = run([0.1, 0.2], CsvLog(tmp_path / "run.csv"))
    assert history["epoch"] == [0, 1]
    assert "run.csv could not be written ([Errno 28] No space left on device); the run goes on" in caplog.text


def test_a_log_that_can_never_be_written_is_refused_before_the_run(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=f"JsonLinesLog: expected a file that can be written, got {tmp_path}"):
        run([0.1], JsonLinesLog(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: not (path == tmp_path and mode == os.W_OK))
    with pytest.raises(ValueError, match=f"CsvLog: expected a file that can be written, got {tmp_path}/run.csv"):
        run([0.1], CsvLog(tmp_path / "run.csv"))


def test_logs_are_the_history(tmp_path):
    class Stop(Listener):
        def epoch_ended(self, epoch, entries, state):
            if epoch == 1:
                raise StopRun

    logs = CsvLog(tmp_path / "new" / "deep" / "run.csv"), JsonLinesLog(tmp_path / "run.jsonl")
    _, history = run([0.1, np.nan, 0.3], *logs, Stop())
    rows = list(csv.DictReader((tmp_path / "new" / "deep" / "run.csv").read_text().splitlines()))
    read = {name: [float(row[name]) for row in rows] for name in history}
    np.testing.assert_equal(read, dict(history))
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    np.testing.assert_equal({name: [line[name] for line in lines] for name in history}, dict(history))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "new", "run.csv", "run.jsonl"]
    assert b"\r" not in (tmp_path / "new" / "deep" / "run.csv").read_bytes()
