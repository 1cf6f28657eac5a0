"""Metrics and predictions over whole data sets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from jaxtrain import nn, optim
from jaxtrain.train import Average, Placement, TrainState, evaluate, make_eval_step, predict
from jaxtrain.train.evaluation import metrics_of

X = np.linspace(-1, 1, 10, dtype=np.float32)


class Line(nnx.Module):
    """y = w x, from w = 3."""

    def __init__(self):
        self.w = nnx.Param(jnp.float32(3.0))

    def __call__(self, x):
        return self.w[...] * x


def line():
    return TrainState.create(Line(), optim.sgd())


def test_evaluate_over_ragged_batches():
    eval_step = make_eval_step(lambda model, x: {"mean": x.mean(), "each": x})
    x = np.arange(10, dtype=np.float32)
    assert evaluate(eval_step, line(), x, batch_size=4) == {"each": 4.5, "mean": 4.5}
    assert evaluate(eval_step, line(), x) == {"each": 4.5, "mean": 4.5}


def test_a_thousand_rows_are_computed_at_once():
    sizes = []

    def seen(model, x):
        sizes.append(len(x))
        return {"each": x}

    x = np.zeros(1030, np.float32)
    evaluate(make_eval_step(seen), line(), x)
    predict(line(), seen, x)
    predict(line(), seen, x, batch_size=1000)
    assert sizes == [1024, 6, 1024, 6, 1000, 30]


def test_what_is_done_meanwhile_is_done_once_when_the_device_is_busy():
    events = []

    class Steps:
        steps = 3

        def epoch(self, epoch, done=0, following=None):
            for step in range(3):
                yield (
                    lambda state, step=step: events.append(step) or {"loss": Average(jnp.float32(step), jnp.int32(1))},
                    None,
                )

    found = metrics_of(Steps(), line(), lambda: events.append("meanwhile") or "result")
    assert found == ({"loss": 1.0}, "result")
    assert events == [0, "meanwhile", 1, 2]


def test_evaluate_refuses_bad_input():
    step = make_eval_step(lambda model, x: {"mean": model(x)})
    with pytest.raises(ValueError, match="evaluate: batch_size must be at least 1, got 0"):
        evaluate(step, line(), X, batch_size=0)
    with pytest.raises(ValueError, match="evaluate: data: expected at least one row"):
        evaluate(step, line(), X[:0])
    with pytest.raises(
        TypeError, match="evaluate: expected an evaluation step, a TrainState and data, got TrainState, "
    ):
        evaluate(line(), step, X)
    with pytest.raises(TypeError, match="evaluate: expected a step from make_eval_step, got one that returns <cl"):
        evaluate(lambda state, batch: (state, {}), line(), X)


def test_predictions_are_the_rows_of_all_batches():
    state = line()
    data = {"x": X, "name": np.arange(10)}
    found = predict(state, lambda model, batch: (model(batch["x"]), batch["name"]), data, batch_size=4)
    np.testing.assert_array_equal(found[0], 3 * X)
    assert found[1].tolist() == list(range(10))
    assert predict(state, lambda model, x: model(x), lambda epoch: [X[:2], X[2:5]]).shape == (5,)


@pytest.mark.parametrize(
    ("function", "data", "error", "message"),
    [
        (None, X, TypeError, "predict: function must be a function, got None"),
        (lambda model, x: model(x).mean(), X, ValueError, r"with a row for each example, got the shapes \(\) for a b"),
        (lambda model, x: (x, x[:1]), X, ValueError, r"got the shapes \(\(10,\), \(1,\)\) for a batch of \(10,\); for"),
        (lambda model, x: x[0], [[1.0, 2.0]], ValueError, r"got the shapes \(\) for a batch of \[\(\), \(\)\]"),
    ],
)
def test_predictions_have_a_row_for_each_example(function, data, error, message):
    with pytest.raises(error, match=message):
        predict(line(), function, data)


def test_predict_refuses_bad_input():
    def function(model, x):
        return x

    with pytest.raises(ValueError, match="predict: batch_size must be at least 1, got 0"):
        predict(line(), function, X, batch_size=0)
    with pytest.raises(TypeError, match=r"predict: placement must be a train\.Placement or None, got str"):
        predict(line(), function, X, placement="data")
    with pytest.raises(TypeError, match="predict: state must be a TrainState"):
        predict(function, line(), X)


@pytest.mark.usefixtures("float64")
def test_eight_devices_share_the_rows_of_a_batch():
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(nn.Linear(4, 3, param_dtype=jnp.float64, rngs=rngs), nn.Dropout(0.5, rngs=rngs))
    placement = Placement()
    state = placement.put(TrainState.create(model, optim.sgd()))
    # Eight divides neither all rows nor the last batch of 16.
    x = np.random.default_rng(0).normal(size=(36, 4))
    expected = state.model()(x)

    def on_the_mesh(model, x):
        rows = model(x)
        return rows if len(x) % 8 else jax.lax.with_sharding_constraint(rows, PartitionSpec("data"))

    for rows in (
        predict(state, on_the_mesh, x, batch_size=16, placement=placement),
        predict(state, lambda model, x: model(x), x, batch_size=16),
    ):
        np.testing.assert_allclose(rows, expected, rtol=1e-12, atol=1e-14)
    averages = evaluate(make_eval_step(lambda model, x: {"mean": model(x)}, placement=placement), state, x)
    np.testing.assert_allclose(averages["mean"], expected.mean(), rtol=1e-12)
