"""The loop: what it trains on, writes down, repeats and refuses."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxtrain import optim
from jaxtrain.train import (
    Curves,
    NonFiniteLossError,
    TrainState,
    evaluate,
    fit,
    make_eval_step,
    make_train_step,
)
from jaxtrain.train.totals import Totals


class Line(nnx.Module):
    def __init__(self):
        self.w = nnx.Param(jnp.zeros(()))

    def __call__(self, x):
        return self.w[...] * x


def loss_fn(model, batch):
    x, y = batch
    return jnp.mean((model(x) - y) ** 2)


def line(lr=0.05):
    return TrainState.create(Line(), optim.sgd(lr=lr))


X = np.linspace(-1, 1, 10, dtype=np.float32)
DATA = (X, 2 * X)


def test_fit_is_the_plain_loop():
    plain = line()
    step = make_train_step(loss_fn)
    losses = []
    for epoch in range(2):
        order = np.random.default_rng([3, epoch]).permutation(10)
        total = 0.0
        for start in range(0, 10, 4):
            index = order[start : start + 4]
            plain, metrics = step(plain, (DATA[0][index], DATA[1][index]))
            total += float(metrics["loss"].total)
        losses.append(total / 10)
    state, history = fit(line(), loss_fn, DATA, epochs=2, batch_size=4, seed=3, steps_per_dispatch=1, progress=False)
    assert int(state.step) == 6
    assert float(state.params["w"]) == float(plain.params["w"])
    assert history["epoch"] == [0, 1]
    assert history["loss"] == losses


def test_history_with_validation_metrics_and_rate():
    def metrics_fn(model, batch):
        return {"error": jnp.abs(model(batch[0]) - batch[1])}

    _, history = fit(
        line(), loss_fn, DATA, epochs=3, batch_size=4, validation=(X[:1], X[:1]), metrics_fn=metrics_fn, progress=False
    )
    assert list(history) == ["epoch", "loss", "lr", "val_error"]
    assert history["lr"] == [float(np.float32(0.05))] * 3
    assert len(history["val_error"]) == 3


def test_validation_is_by_the_loss_unless_told_otherwise():
    state, history = fit(line(), loss_fn, DATA, epochs=1, batch_size=4, validation=DATA, progress=False)
    w = float(state.params["w"])
    assert history["val_loss"] == [pytest.approx((2 - w) ** 2 * np.mean(X**2), rel=1e-6)]


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({"batch_size": 4}, {4, 2}),
        ({"batch_size": 4, "validation_batch_size": 3}, {3, 1}),
        ({"data": [DATA]}, {10}),
        ({"data": [DATA], "validation_batch_size": 8}, {8, 2}),
        ({"batch_size": 4, "validation": [DATA, DATA]}, {10}),
    ],
)
def test_how_many_rows_are_validated_at_once(changes, sizes):
    seen = set()

    def metrics_fn(model, batch):
        seen.add(len(batch[0]))
        return {"error": model(batch[0]) - batch[1]}

    arguments = {"data": DATA, "validation": DATA, "metrics_fn": metrics_fn, "epochs": 1, "progress": False, **changes}
    fit(line(), loss_fn, **arguments)
    assert seen == sizes


def test_the_given_state_stays():
    state = line()
    first, _ = fit(state, loss_fn, DATA, epochs=1, batch_size=4, progress=False)
    second, _ = fit(state, loss_fn, DATA, epochs=1, batch_size=4, progress=False)
    assert float(state.params["w"]) == 0.0
    assert float(first.params["w"]) == float(second.params["w"]) != 0.0


def test_resumed_by_epoch_bit_for_bit(net, assert_same):
    settings = {"batch_size": 20, "validation": net.batch, "progress": False}
    through, history = fit(net.state, net.loss_fn, net.batch, epochs=4, **settings)
    halfway, first = fit(net.state, net.loss_fn, net.batch, epochs=2, **settings)
    resumed, second = fit(halfway, net.loss_fn, net.batch, epochs=4, start_epoch=2, **settings)
    assert_same(resumed, through)
    assert second["epoch"] == [2, 3]
    assert {name: first[name] + second[name] for name in history} == history


def test_drop_last_leaves_the_rest_out():
    state, _ = fit(line(), loss_fn, DATA, epochs=2, batch_size=4, drop_last=True, progress=False)
    assert int(state.step) == 4


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("start_epoch", [0, 1])
@pytest.mark.parametrize("steps_per_dispatch", [1, 7])
def test_non_finite_loss_stops_the_run_and_names_the_step(bad, start_epoch, steps_per_dispatch):
    x = np.ones(40, np.float32)
    x[37] = bad
    state = TrainState(**{**vars(line()), "step": jnp.int32(20 * start_epoch)})
    message = (
        r"the loss is (nan|inf) at step \d+, in epoch \d \(both counted from 0\), with lr 0.05\. No parameter is "
        r"finite any more\. .* labels outside"
    )
    with pytest.raises(NonFiniteLossError, match=message) as caught:
        fit(
            state,
            loss_fn,
            (x, x),
            epochs=3,
            batch_size=2,
            shuffle=False,
            start_epoch=start_epoch,
            steps_per_dispatch=steps_per_dispatch,
            progress=False,
        )
    assert (caught.value.step, caught.value.epoch) == (18 + 20 * start_epoch, start_epoch)
    assert isinstance(caught.value, FloatingPointError)
    assert not np.isfinite(caught.value.loss)
    assert not np.isfinite(float(caught.value.state.params["w"]))
    assert int(caught.value.state.step) > caught.value.step


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("", "All parameters are still finite. Lower"),
        ("b", "Parameters that are not finite by now: b/w, in all 1 of 5. Lower"),
        ("edbc", "Parameters that are not finite by now: b/w, c/w, d/w, in all 4 of 5. Lower"),
    ],
)
def test_parameters_that_are_not_finite_are_named(bad, message):
    params = {name: {"w": jnp.array([1.0, jnp.nan if name in bad else 2.0])} for name in "abcde"}
    state = dataclasses.replace(line(), params=params)
    assert message in str(NonFiniteLossError(3, 0, math.nan, state))


def test_step_is_counted_over_epochs():
    def fused(model, batch):
        model.calls[...] += 1
        return jnp.where(model.calls[...] == 8, jnp.nan, loss_fn(model, batch))

    model = Line()
    model.calls = nnx.Variable(jnp.int32(0))
    with pytest.raises(NonFiniteLossError, match="the loss is nan at step 7, in epoch 2"):
        fit(TrainState.create(model, optim.sgd()), fused, DATA, epochs=3, batch_size=4, progress=False)


def test_a_validation_batch_may_be_larger_than_the_data():
    settings = {"validation": DATA, "batch_size": 4, "epochs": 1, "progress": False}
    _, of_all = fit(line(), loss_fn, DATA, validation_batch_size=1000, **settings)
    _, expected = fit(line(), loss_fn, DATA, validation_batch_size=len(X), **settings)
    assert of_all["val_loss"] == expected["val_loss"]


def test_metrics_are_read_after_the_next_dispatch(monkeypatch):
    events = []
    read = Totals._read
    monkeypatch.setattr(Totals, "_PATIENCE", 0.0)
    monkeypatch.setattr(Totals, "_read", lambda self, count: events.append(("read", count)) or read(self, count))
    add = Totals.add
    monkeypatch.setattr(Totals, "add", lambda self, *what: events.append("dispatched") or add(self, *what))
    fit(line(), loss_fn, DATA, epochs=1, batch_size=4, steps_per_dispatch=1, progress=False)
    assert events == ["dispatched", ("read", 0), "dispatched", ("read", 1), "dispatched", ("read", 1), ("read", 1)]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"data": (X, X[:3])}, ValueError, "fit: data: expected arrays with the same number of rows"),
        ({"data": (X[:0], X[:0])}, ValueError, "fit: data: expected at least one row"),
        ({"batch_size": 11}, ValueError, "fit: batch_size must be from 1 to 10, got 11"),
        ({"batch_size": 0}, ValueError, "fit: batch_size must be from 1 to 10, got 0"),
        ({"epochs": 0}, ValueError, "fit: epochs must be at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, r"fit: epochs must be an integer, got 1.5"),
        ({"start_epoch": -1}, ValueError, "fit: start_epoch must be from 0 to 0, got -1"),
        ({"start_epoch": 2, "epochs": 2}, ValueError, "fit: start_epoch must be from 0 to 1, got 2"),
        ({"steps_per_dispatch": 0}, ValueError, "fit: steps_per_dispatch must be at least 1, got 0"),
        ({"validation": DATA, "validation_batch_size": 0}, ValueError, "fit: validation_batch_size must be at least 1"),
        ({"listeners": [1]}, TypeError, "fit: listeners must be jaxtrain.train.Listener objects or functions, got 1"),
        (
            {"listeners": [dict]},
            TypeError,
            "listeners must be jaxtrain.train.Listener objects or functions, got <class",
        ),
        ({"seed": -1}, ValueError, "fit: seed must be at least 0, got -1"),
        ({"listeners": [Curves]}, TypeError, r"functions, got the class Curves; make one: Curves\(\.\.\.\)"),
        ({"listeners": print}, TypeError, r"must be a list of jaxtrain.train.Listener objects, got <built-in .* alone"),
        ({"validation": (X, X[:3])}, ValueError, "fit: validation: expected arrays with the same number of rows"),
        ({"state": {}}, TypeError, "fit: state must be a TrainState, see TrainState.create, got {}"),
        ({"progress": "bar"}, TypeError, "fit: progress must be True or False, got 'bar'; pass your own"),
        ({"metrics_fn": loss_fn}, ValueError, "fit: expected validation data for metrics_fn, got None"),
        ({"metrics_fn": 3, "validation": DATA}, TypeError, "make_eval_step: metrics_fn must be a function, got 3"),
        ({"validation_batch_size": 3}, ValueError, "fit: expected validation data for validation_batch_size, got None"),
        ({"shuffle": "no"}, TypeError, "fit: shuffle must be True or False, got 'no'"),
        ({"drop_last": 1}, TypeError, "fit: drop_last must be True or False, got 1"),
        ({"loss_fn": None}, TypeError, "fit: loss_fn must be a function, got None"),
        ({"observe": 1}, TypeError, "make_train_step: observe must be a function, got 1"),
    ],
)
def test_bad_input(changes, error, message):
    arguments = {"state": line(), "loss_fn": loss_fn, "data": DATA, "epochs": 1, "batch_size": 4, "progress": False}
    with pytest.raises(error, match=message):
        fit(**(arguments | changes))


def test_a_consumed_state_is_refused():
    state = line()
    make_train_step(loss_fn)(state, DATA)
    for use in (
        lambda: fit(state, loss_fn, DATA, epochs=1, batch_size=4),
        lambda: evaluate(make_eval_step(loss_fn), state, DATA),
        lambda: state.model(),
    ):
        with pytest.raises(
            ValueError, match=r"expected a state whose arrays exist, got one .* continue with the state"
        ):
            use()
