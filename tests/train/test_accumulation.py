"""A batch in parts gives the update of the whole batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxtrain import nn, optim
from jaxtrain.train import Average, TrainState, fit, make_train_step

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 3)).astype(np.float32)
Y = RNG.normal(size=(10, 1)).astype(np.float32)
REAL = np.array([0, 0, 0, 0, 1, 1, 1, 0, 1, 1], np.float32)  # Of three parts of four rows, the first has none.


def squares(model, batch):
    x, y, _ = batch
    return (model(x) - y) ** 2


def mean(model, batch):
    each = squares(model, batch)
    return each.mean(), {"error": each[:, 0]}


def masked(model, batch):
    each = squares(model, batch)[:, 0] * batch[2]
    return Average(each.sum(), batch[2].sum()), {"error": Average(each.sum(), 1)}


def linear(optimizer, **options):
    return TrainState.create(nn.Linear(3, 1, rngs=nnx.Rngs(0)), optimizer, **options)


@pytest.mark.parametrize(
    ("loss_fn", "weights"),
    [(mean, REAL), (masked, REAL), (masked, REAL / 16), (masked, 0 * REAL)],
    ids=["mean", "masked", "weights below one", "nothing counts"],
)
def test_parts_are_the_whole_batch(loss_fn, weights):
    whole, expected = make_train_step(loss_fn)(linear(optim.sgd(0.1)), (X, Y, weights))
    for parts in (3, 5):  # 4 + 4 + 2 rows, and 2 + 2 + 2 + 2 + 2
        state, metrics = make_train_step(loss_fn, accumulate=parts)(linear(optim.sgd(0.1)), (X, Y, weights))
        for one, other in zip(jax.tree.leaves(state.params), jax.tree.leaves(whole.params), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
        assert int(state.step) == 1
        for name, metric in expected.items():
            np.testing.assert_allclose(metrics[name].total, metric.total, rtol=1e-6)
            # A scalar metric is counted once for each part.
            assert int(metrics[name].count) in (int(metric.count), parts)


def test_half_precision_gradients_are_added_in_float32_and_given_in_their_dtype():
    """Each of 512 parts adds a gradient of one: bfloat16 sums end at 256."""

    class One(nnx.Module):
        def __init__(self):
            self.w = nnx.Param(jnp.zeros((), jnp.bfloat16))

    seen = []

    def watch(gradients, updates, params):
        seen.append(gradients["w"].dtype)
        return {"gradient": gradients["w"].astype(jnp.float32)}

    def loss_fn(model, batch):
        return Average((model.w[...] * batch.astype(jnp.bfloat16)).astype(jnp.float32).sum(), 1)

    state = TrainState.create(One(), optim.sgd(0.1), key=3)
    kept = np.array(jax.random.key_data(state.key))
    after, metrics = make_train_step(loss_fn, observe=watch, accumulate=512)(state, jnp.ones(512))
    assert float(metrics["gradient"].value) == 1.0
    assert seen == [jnp.bfloat16]
    np.testing.assert_array_equal(jax.random.key_data(after.key), kept)  # The parts have keys of their own.


def test_a_line_search_sees_the_whole_batch():
    whole, _ = make_train_step(mean)(linear(optax.lbfgs()), (X, Y, REAL))
    parts, _ = make_train_step(mean, accumulate=3)(linear(optax.lbfgs()), (X, Y, REAL))
    np.testing.assert_allclose(parts.params["kernel"], whole.params["kernel"], rtol=1e-4)


@pytest.mark.usefixtures("promotion")
def test_statistics_and_masks_of_each_part():
    class Net(nnx.Module):
        def __init__(self):
            self.norm = nn.BatchNorm(3, momentum=None)
            self.drop = nn.Dropout(0.5, rngs=nnx.Rngs(0))
            self.w = nnx.Param(jnp.ones(()))

    def loss_fn(model, x, key):
        model.norm(x)
        bits = 2.0 ** jnp.arange(12)  # A mask as one number.
        mask, draw = model.drop(jnp.ones(12)) > 0, jax.random.bernoulli(key, 0.5, (12,))
        return model.w[...] * x.mean(), {"mask": Average(mask @ bits, 1), "draw": Average(draw @ bits, 1)}

    x = X[:8]
    whole, parts = make_train_step(loss_fn), make_train_step(loss_fn, accumulate=2)
    state, both = parts(TrainState.create(Net(), optim.sgd()), x)
    assert int(state.model_state["norm"]["num_batches_tracked"]) == 2
    np.testing.assert_allclose(
        state.model_state["norm"]["running_mean"], (x[:4].mean(0) + x[4:].mean(0)) / 2, rtol=1e-5, atol=1e-7
    )
    state, first = whole(TrainState.create(Net(), optim.sgd()), x)
    _, second = whole(state, x)
    draws = {float(metrics[name].total) for metrics in (first, second) for name in ("mask", "draw")}
    assert len(draws) == 4
    for name in ("mask", "draw"):
        assert int(both[name].count) == 2
        assert float(both[name].total) != 2 * float(first[name].total)


@pytest.mark.parametrize("parts", [1, 3])
def test_an_optimizer_that_asks_again_sees_the_same_masks_and_draws(parts):
    class Net(nnx.Module):
        def __init__(self):
            self.drop = nn.Dropout(0.5, rngs=nnx.Rngs(0))
            self.w = nnx.Param(jnp.ones(()))

    def loss_fn(model, batch, key):
        x, scale = batch
        return (model.w[...] * model.drop(x) * jax.random.uniform(key, x.shape)).mean() * scale

    def update(gradients, state, params, *, value, value_fn, **_):
        return jax.tree.map(jnp.zeros_like, gradients), {"once": value, "again": value_fn(params)}

    init = lambda params: {"once": jnp.zeros(()), "again": jnp.zeros(())}  # noqa: E731
    spy = optax.GradientTransformationExtraArgs(init, update)
    step = make_train_step(loss_fn, accumulate=parts)
    state, _ = step(TrainState.create(Net(), spy), (X, jnp.float32(2.0)))  # A number belongs to all parts.
    assert float(state.opt_state["once"]) == pytest.approx(float(state.opt_state["again"]), rel=1e-6)


def test_fit_accumulates():
    settings = {"epochs": 1, "batch_size": 4, "shuffle": False, "progress": False}
    whole, history = fit(linear(optim.sgd(0.1)), mean, (X, Y, REAL), **settings)
    state, again = fit(linear(optim.sgd(0.1)), mean, (X, Y, REAL), accumulate=2, **settings)
    np.testing.assert_allclose(state.params["kernel"], whole.params["kernel"], rtol=1e-5)
    np.testing.assert_allclose(again["loss"], history["loss"], rtol=1e-6)


def test_bad_parts():
    with pytest.raises(ValueError, match="make_train_step: accumulate must be at least 1, got 0"):
        make_train_step(mean, accumulate=0)
    step = make_train_step(lambda model, batch: Average(model(batch[0]).sum(), 1), accumulate=2)
    with pytest.raises(ValueError, match=r"accumulate: expected batches of arrays with one number of rows, .* \[5, 10"):
        step(linear(optim.sgd()), (X, Y[:5]))
