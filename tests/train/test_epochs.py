"""`fit` tells schedules that count epochs how many steps one has, and refuses those that are too short."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxtrain import optim, schedules
from jaxtrain.train import Listener, TrainState, fit, make_train_step
from jaxtrain.train.epochs import in_epochs

DATA = np.ones((10, 2), np.float32)
HALVING = schedules.step_lr(0.5, step_size=1, gamma=0.5)
CYCLE = schedules.one_cycle_lr(0.1, total_steps=5)


class Line(nnx.Module):
    def __init__(self):
        self.w = nnx.Param(jnp.zeros(2))


def loss_fn(model, x):
    return ((model.w[...][None] - x) ** 2).mean()


def state_with(lr, optimizer=optim.sgd):
    return TrainState.create(Line(), optimizer(lr))


def run(state, epochs, data=DATA, batch_size=4, **options):
    return fit(state, loss_fn, data, epochs=epochs, batch_size=batch_size, progress=False, **options)


def test_a_schedule_in_epochs_needs_no_number():
    told, told_history = run(state_with(schedules.per_epoch(HALVING)), 2)
    given, given_history = run(state_with(schedules.per_epoch(HALVING, 3)), 2)
    assert given_history["lr"] == [0.5, 0.25]
    assert told_history == given_history
    np.testing.assert_array_equal(told.params["w"], given.params["w"])
    # It goes on with data of another length: the steps 6 and 7 are in the fourth epoch of 2 steps.
    _, history = run(told, 1, DATA[:8])
    assert history["lr"] == [0.0625]


@pytest.mark.parametrize(
    ("schedule", "optimizer"),
    [
        (schedules.per_epoch(HALVING), lambda lr: optim.param_groups(optim.sgd, {None: {"momentum": 0.5}}, lr=lr)),
        (schedules.per_epoch(HALVING), lambda lr: optax.inject_hyperparams(optax.sgd)(learning_rate=lr)),
        (schedules.one_cycle_lr(0.1, epochs=2), optim.sgd),
        (schedules.one_cycle_momentum(epochs=2), lambda momentum: optim.sgd(0.1, momentum=momentum)),
        (schedules.sequential_lr([HALVING, schedules.per_epoch(HALVING)], [1]), optim.sgd),
        (schedules.chained_scheduler([schedules.one_cycle_lr(0.5, epochs=2)]), optim.sgd),
    ],
)
def test_it_asks_wherever_it_is(schedule, optimizer):
    state = state_with(schedule, optimizer)
    assert in_epochs(state, 3, 2).blueprint.options.steps_per_epoch == 3
    assert in_epochs(state, 3, 2).blueprint is in_epochs(state, 3, 1).blueprint
    assert in_epochs(in_epochs(state, 3, 2), 4, 2).blueprint.options.steps_per_epoch == 4
    with pytest.raises(ValueError, match="fit: expected data that tell their number of batches, because a schedule"):
        in_epochs(state, None, 2)


def test_without_a_question_the_state_stays():
    state = state_with(schedules.per_epoch(HALVING, 3))
    assert in_epochs(state, 3, 2) is state
    assert in_epochs(state, None, 2) is state


@pytest.mark.parametrize("optimizer", [optim.sgd, optax.sgd])
def test_who_does_not_train_with_fit_gives_the_number(optimizer):
    state = state_with(schedules.per_epoch(HALVING), optimizer)
    with pytest.raises(ValueError, match="per_epoch: expected steps_per_epoch, got None, which only"):
        make_train_step(loss_fn)(state, DATA)


class NoStep(Listener):
    def stepped(self, step, metrics):
        raise AssertionError(f"step {step} ran")


def test_a_cycle_that_is_too_short_is_refused_before_the_first_step():
    message = "fit: expected a schedule for 9 steps, 3 epochs of 3 after 0 steps, got one for 6; make it longer"
    with pytest.raises(ValueError, match=message):
        run(state_with(CYCLE), 3, listeners=[NoStep()])


def test_steps_that_are_done_count():
    state = dataclasses.replace(state_with(CYCLE), step=jnp.int32(3))
    in_epochs(state, 3, 1)
    message = "fit: expected a schedule for 9 steps, 2 epochs of 3 after 3 steps, got one for 6; make it longer"
    with pytest.raises(ValueError, match=message):
        in_epochs(state, 3, 2)


@pytest.mark.parametrize(
    ("schedule", "enough"),
    [
        (CYCLE, 6),
        (schedules.one_cycle_lr(0.1, epochs=5), 4 * 5 + 1),
        (schedules.per_epoch(CYCLE), 4 * 6),
        (schedules.per_epoch(CYCLE, 2, fractional=True), 2 * 5 + 1),
        (schedules.sequential_lr([HALVING, CYCLE], [3]), 3 + 6),
        (schedules.sequential_lr([CYCLE, HALVING], [8]), 6),
        (schedules.sequential_lr([CYCLE, HALVING], [6]), None),
        (schedules.chained_scheduler([HALVING, CYCLE]), 6),
        (HALVING, None),
    ],
)
def test_where_a_schedule_ends(schedule, enough):
    """In epochs of 4 steps, of which the last one may be cut short."""
    state = state_with(schedule)
    whole = 1000 if enough is None else enough // 4
    in_epochs(state, 4, whole)
    if enough is not None:
        with pytest.raises(ValueError, match=f"{4 * whole + 4} steps.*got one for {enough};"):
            in_epochs(state, 4, whole + 1)


def test_an_optimizer_that_gathers_gradients_is_not_refused():
    state = state_with(CYCLE, lambda lr: optax.MultiSteps(optim.sgd(lr), 4).gradient_transformation())
    assert in_epochs(state, 3, 8) is state
    with pytest.raises(ValueError, match="got one for 6"):
        in_epochs(state_with(CYCLE), 3, 8)
