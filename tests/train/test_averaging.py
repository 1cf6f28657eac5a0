"""A running average beside the parameters: updated by the step, evaluated and kept by `fit`."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxtrain import optim
from jaxtrain.train import AveragedEvery, EarlyStopping, TrainState, evaluate, fit, make_eval_step

EMA = optim.averaged_model(optim.get_ema_avg_fn(0.5))


class Walk(nnx.Module):
    """A parameter that moves by 1 a step, and a variable that counts the calls."""

    def __init__(self):
        self.w = nnx.Param(jnp.zeros(()))
        self.calls = nnx.BatchStat(jnp.zeros(()))

    def __call__(self, x):
        self.calls[...] += 1
        return self.w[...] + 0 * x


def loss_fn(model, x):
    return -model(x).mean()


def walk(average):
    return TrainState.create(Walk(), optax.sgd(1.0), average=average)


X = np.zeros(8, np.float32)
SETTINGS = {"batch_size": 2, "progress": False}


@pytest.mark.parametrize("steps_per_dispatch", [1, None])
def test_fit_updates_the_average_and_evaluates_it(steps_per_dispatch):
    state, history = fit(
        walk(EMA), loss_fn, X, epochs=2, validation=X, steps_per_dispatch=steps_per_dispatch, **SETTINGS
    )
    expected = []
    average = 1.0
    for step in range(2, 9):
        average = (average + step) / 2
        expected += [average] if step % 4 == 0 else []
    assert float(state.params["w"]) == 8.0
    assert float(state.averaged().model().w[...]) == expected[-1]
    assert history["val_loss"] == [-value for value in expected]
    assert float(state.averaged().model().calls[...]) == 8.0  # A copy, as in PyTorch; an option averages it.
    assert evaluate(make_eval_step(loss_fn), state, X)["loss"] == -8.0


def test_equal_weights_after_every_epoch_from_the_second_on():
    swa = AveragedEvery(optim.averaged_model(), every=4, start=4)
    state, history = fit(walk(swa), loss_fn, X, epochs=4, validation=X, **SETTINGS)
    assert history["val_loss"] == [0.0, -8.0, -10.0, -12.0]
    assert float(state.averaged().params["w"]) == np.mean([8, 12, 16])


@pytest.mark.parametrize("options", [{}, {"start": 0}, {"start": 1}, {"start": 3}])
@pytest.mark.parametrize("every", [1, 2, 3])
def test_which_steps_are_in_an_average(every, options):
    average, start, included = (
        AveragedEvery(optim.averaged_model(), every=every, **options),
        options.get("start", 0),
        [],
    )
    state = average.init({"w": jnp.float32(0.0)}, {"calls": jnp.float32(0.0)})
    for step in range(1, 9):
        number = jnp.float32(step)
        state = average.update_parameters(state, {"w": number}, {"calls": number})
        if step > start and (step - start) % every == 0:
            included.append(step)
        assert float(state.module["w"]) == pytest.approx(np.mean(included or [0.0]))
        assert float(state.buffers["calls"]) == (included or [0])[-1]
        assert int(state.count) == step


def test_the_best_epoch_brings_its_average():
    def scored(model, x):
        w = model(x).mean()
        return -w, {"score": -((w - 6) ** 2)}

    stop = EarlyStopping("val_score", patience=1, mode="max")
    state, history = fit(walk(EMA), scored, X, epochs=5, validation=X, listeners=[stop], **SETTINGS)
    assert history["epoch"] == [0, 1, 2]
    assert evaluate(make_eval_step(scored), state.averaged(), X)["score"] == max(history["val_score"])
    assert float(state.params["w"]) == 8.0


def test_without_an_average():
    state = TrainState.create(Walk(), optax.sgd(1.0))
    assert state.average is None
    with pytest.raises(ValueError, match="averaged: expected a state with an average, got one without; make it with"):
        state.averaged()
    with pytest.raises(ValueError, match="AveragedEvery: every must be at least 1, got 0"):
        AveragedEvery(EMA, every=0)


def test_a_state_with_an_average_compiles_once():
    traces = []

    def traced(model, x):
        traces.append(1)
        return loss_fn(model, x)

    fit(walk(EMA), traced, X, epochs=3, validation=X, **SETTINGS)
    assert len(traces) == 2
