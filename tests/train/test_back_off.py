"""A run whose loss is not finite goes back to its last checkpoint with a smaller rate."""

import dataclasses
import logging
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxtrain import optim, schedules
from jaxtrain.train import Checkpoints, Listener, NonFiniteLossError, ReduceLROnPlateau, TrainState, fit, learning_rates

pytest.importorskip("orbax.checkpoint")
SLOPE = optax.inject_hyperparams(optim.sgd)(lr=1.5)


class Number(nnx.Module):
    def __init__(self):
        self.w = nnx.Param(jnp.float32(1.0))


def square(model, x):
    """The square of the number, below 100: with a rate of 1.5 a step doubles it."""
    w = model.w[...]
    return jnp.where(abs(w) > 100, jnp.nan, w**2)


class Begins(Listener):
    """Notes the rate and the epoch with which each attempt begins."""

    last = True

    def __init__(self):
        self.notes = []

    def started(self, run):
        self.notes.append((*learning_rates(run.state).values(), run.epochs.start))


def run(folder, *listeners, loss_fn=square, optimizer=SLOPE, epochs=6, **options):
    state = TrainState.create(Number(), optimizer)
    saved, begins = Checkpoints(folder, asynchronous=False, **options), Begins()
    settings = {"epochs": epochs, "batch_size": 1, "progress": False}
    try:
        _, history = fit(
            state, loss_fn, np.ones(2, np.float32), listeners=iter([*listeners, saved, begins]), **settings
        )
    except NonFiniteLossError:
        return None, begins.notes
    return history, begins.notes


def test_it_goes_on_with_a_smaller_rate(tmp_path, caplog):
    history, begins = run(tmp_path, back_off=0.5)
    assert begins == [(1.5, 0), (0.75, 3)]
    assert history["lr"] == [1.5] * 3 + [0.75] * 3
    assert history["epoch"] == list(range(6))
    assert history["loss"][-1] < history["loss"][3]
    assert "the loss is nan at step 7, in epoch 3" in caplog.text
    assert "Going back, attempt 1 of 3" in caplog.text


def test_it_gives_up_and_begins_without_a_checkpoint_at_the_beginning(tmp_path):
    def never(model, x):
        return model.w[...] * jnp.nan

    assert run(tmp_path, loss_fn=never, back_off=0.5) == (None, [(1.5, 0), (0.75, 0), (0.375, 0), (0.1875, 0)])
    assert run(tmp_path, loss_fn=never) == (None, [(1.5, 0)])


def test_the_next_run_has_all_attempts_again(tmp_path):
    saved, begins = Checkpoints(tmp_path, back_off=0.5), Begins()
    for _ in range(2):
        with pytest.raises(NonFiniteLossError):
            fit(
                TrainState.create(Number(), SLOPE),
                lambda model, x: model.w[...] * jnp.nan,
                np.ones(2, np.float32),
                epochs=1,
                batch_size=1,
                listeners=[saved, begins],
                progress=False,
            )
    assert [rate for rate, _ in begins.notes] == [1.5, 0.75, 0.375, 0.1875] * 2


def test_a_new_checkpoint_begins_to_count_again(tmp_path):
    fails = [2, 4]

    class Fails(Listener):
        def epoch_ended(self, epoch, entries, state):
            if epoch in fails:
                fails.remove(epoch)
                raise NonFiniteLossError(0, epoch, math.nan, state)

    slope = optax.inject_hyperparams(optim.sgd)(lr=0.5)
    _, begins = run(tmp_path, Fails(), optimizer=slope, back_off=0.5)
    assert begins == [(0.5, 0), (0.25, 2), (0.125, 4)]


def test_a_state_that_is_not_finite_is_not_saved(tmp_path, caplog):
    class Break(Listener):
        def epoch_ended(self, epoch, entries, state):
            return dataclasses.replace(state, params=jax.tree.map(lambda w: w * jnp.inf, state.params))

    with caplog.at_level(logging.ERROR):
        run(tmp_path, Break(), epochs=1)
    assert list(tmp_path.iterdir()) == []
    assert f"{tmp_path}/1 is not written, for the parameter w is not finite; older checkpoints stay" in caplog.text


@pytest.mark.parametrize(
    ("listeners", "options", "error", "message"),
    [
        ([], {"back_off": 1.0}, ValueError, r"Checkpoints: back_off must lie in \(0, 1\), got 1.0"),
        ([], {"back_off": "x"}, TypeError, r"Checkpoints: back_off must be a number, got 'x'"),
        (
            [],
            {"optimizer": optim.sgd(0.1)},
            ValueError,
            "Checkpoints: back_off: expected an optimizer that keeps its le",
        ),
        (
            [ReduceLROnPlateau("loss", schedules.reduce_lr_on_plateau(1.0))],
            {},
            ValueError,
            "Checkpoints: expected no ReduceLROnPlateau together with back_off",
        ),
    ],
)
def test_bad_input(listeners, options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        run(tmp_path, *listeners, **{"back_off": 0.5, **options})
