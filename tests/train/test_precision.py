"""Mixed precision, the scale of a loss, and steps that are skipped because their gradients are not finite."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jaxtrain import losses, nn, optim
from jaxtrain.train import (
    GradScaler,
    GradScalerState,
    History,
    NonFiniteLossError,
    Precision,
    Run,
    TrainState,
    evaluate,
    fit,
    make_eval_step,
    make_train_step,
    predict,
)
from jaxtrain.train.blueprint import Options
from jaxtrain.train.grad_scaler import scaled, unscaled
from jaxtrain.train.listeners import NonFiniteGuard

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 3)).astype(np.float32)
Y = (X @ np.array([[1.0], [-2.0], [0.5]], np.float32)).astype(np.float32)


class Net(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.body, self.norm, self.head = nn.Linear(3, 8, rngs=rngs), nn.BatchNorm(8), nn.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        self.seen = x.dtype, self.body.kernel.dtype, self.norm.running_mean.dtype
        return self.head(jnp.tanh(self.norm(self.body(x))))


def loss_fn(model, batch):
    x, y = batch
    return losses.mse_loss(model(x), y)


def net(precision=None, optimizer=None, **options):
    return TrainState.create(Net(), optimizer or optim.adamw(1e-2), precision=precision, **options)


@pytest.mark.parametrize("compute", ["bfloat16", jnp.float16])
def test_who_has_which_dtype(compute):
    seen = []

    def watched(model, batch):
        prediction = model(batch[0])
        seen.append((*model.seen, prediction.dtype, batch[1].dtype, isinstance(model, Net)))
        return losses.mse_loss(prediction, batch[1])

    state = net(Precision(compute))
    state, metrics = make_train_step(watched)(state, (X, Y))
    assert seen == [(compute, compute, jnp.float32, jnp.float32, jnp.float32, True)]
    assert metrics["loss"].total.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    moments = {leaf.dtype for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim}
    assert moments == {jnp.dtype("float32")}
    seen.clear()
    evaluate(make_eval_step(watched), state, (X, Y))
    assert seen[0][:2] == (compute, compute)
    assert predict(state, lambda model, x: model(x), X).dtype == np.float32
    assert type(state.model()) is Net
    assert state.model().body.kernel.dtype == jnp.float32


def test_arguments_by_name_are_cast_too():
    seen = []

    def watched(model, batch):
        seen.append(model(x=batch[0]).dtype)
        return losses.mse_loss(model(x=batch[0]), batch[1])

    class Watching(Net):
        def __call__(self, x):
            seen.append(x.dtype)
            return super().__call__(x)

    jax.eval_shape(
        make_train_step(watched), TrainState.create(Watching(), optim.sgd(), precision=Precision("bfloat16")), (X, Y)
    )
    assert set(seen[:2]) == {jnp.dtype("bfloat16"), jnp.dtype("float32")}


@pytest.mark.parametrize("bad", [jnp.inf, -jnp.inf, jnp.nan])
def test_a_step_is_skipped_for_one_gradient_that_is_infinite_or_nan(bad):
    class Two(nnx.Module):
        def __init__(self):
            self.w = nnx.Param(jnp.ones(3))

    def loss_fn(model, x):
        return (model.w[...] * x).sum()

    state = TrainState.create(Two(), optim.sgd(0.1), skip_non_finite=1)
    state, metrics = make_train_step(loss_fn)(state, jnp.array([1.0, bad, 1.0]))
    assert int(metrics["skipped"].total) == 1
    assert int((metrics["skipped"] + metrics["skipped"]).total) == 2  # A number: two truths would add up to one.
    np.testing.assert_array_equal(state.params["w"], np.ones(3))


def test_parameters_in_half_precision():
    state = net(Precision("bfloat16", "bfloat16", parameters="bfloat16"))
    state, _ = make_train_step(loss_fn)(state, (X, Y.astype(jnp.bfloat16)))
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("compute", ["bfloat16", "float16"])
def test_it_trains_as_float32_does(compute):
    settings = {"epochs": 30, "batch_size": 8, "progress": False}
    optimizer = optim.sgd(0.1)
    _, exact = fit(net(None, optimizer), loss_fn, (X, Y), **settings)
    scaler = GradScaler(init_scale=256.0) if compute == "float16" else None  # No step is skipped.
    _, rounded = fit(net(Precision(compute, scaler=scaler), optimizer), loss_fn, (X, Y), **settings)
    assert exact["loss"][-1] < exact["loss"][0] / 3
    assert rounded["loss"][-1] < rounded["loss"][0] / 3
    np.testing.assert_allclose(rounded["loss"][:3], exact["loss"][:3], rtol=0.02)
    assert rounded["loss"] != exact["loss"]


def test_frozen_parameters_are_not_rounded():
    state = net(Precision("bfloat16"), trainable="^head/")
    before = np.asarray(state.model_state["body"]["kernel"])
    state, _ = make_train_step(loss_fn)(state, (X, Y))
    np.testing.assert_array_equal(state.model_state["body"]["kernel"], before)
    assert not np.array_equal(before, before.astype(jnp.bfloat16))
    assert int(state.model_state["norm"]["num_batches_tracked"]) == 1


def test_small_gradients_survive_by_the_scale():
    """A gradient of 1e-9 is zero in float16, and not times 65536."""

    class Tiny(nnx.Module):
        def __init__(self):
            self.w = nnx.Param(jnp.ones(()))

        def __call__(self, x):
            return self.w[...] * x

    def loss(model, x):
        return model(x).mean() * jnp.float32(1e-9)

    def step(scaler):
        state = TrainState.create(Tiny(), optim.sgd(1e8), precision=Precision("float16", scaler=scaler))
        return float(make_train_step(loss)(state, jnp.ones(1))[0].params["w"])

    assert step(GradScaler(init_scale=1.0)) == 1.0
    assert step(None) == pytest.approx(0.9, rel=1e-3)


@pytest.mark.parametrize(("dtype", "times"), [("float32", 0), ("bfloat16", 0), ("float64", 1)])
def test_only_float64_gradients_are_unscaled_by_an_operation_that_tpus_lack(dtype, times):
    with jax.enable_x64(dtype == "float64"):
        arguments = [jnp.full(2, 8.0, dtype), jnp.full(3, 2.0, dtype)], GradScaler(init_scale=3.0).init()
        program = jax.jit(unscaled).lower(*arguments)
        result = program.compile()(*arguments)
    assert program.as_text().count("stablehlo.reduce_precision") == times
    third = np.float32(1) / np.float32(3)
    np.testing.assert_array_equal(result[0], np.full(2, 8 * third.astype(np.float64)).astype(result[0].dtype))


def blow_up(model, batch):
    x, bad = batch
    return model(x).mean() * jnp.where(bad.any(), jnp.inf, 1.0)


BAD = np.zeros(16, bool)
BAD[[4, 5, 9]] = True


def test_a_skipped_step_changes_nothing_but_the_scale_and_the_count(assert_same):
    average = optim.averaged_model()
    state = net(Precision("float16", scaler=GradScaler(init_scale=8.0)), average=average)
    step = make_train_step(blow_up)
    state, _ = step(state, (X, ~BAD & False))
    kept = jax.tree.map(jnp.copy, state)
    state, metrics = step(state, (X, BAD))
    for name in ("params", "opt_state", "model_state", "average"):
        assert_same(getattr(state, name), getattr(kept, name))
    assert (int(state.step), float(state.scaler.scale), int(state.scaler.growth_tracker)) == (2, 4.0, 0)
    assert (int(metrics["skipped"].total), int(metrics["loss"].count), float(metrics["loss"].total)) == (1, 0, 0.0)
    halves = kept.gradients(blow_up, (X, BAD))
    assert_same(halves[3].apply_gradients(halves[0]).params, kept.params)


@pytest.mark.parametrize("steps_per_dispatch", [1, None])
def test_skipped_steps_are_counted_and_bounded(steps_per_dispatch):
    settings = {"epochs": 2, "batch_size": 2, "shuffle": False, "progress": False}
    settings["steps_per_dispatch"] = steps_per_dispatch
    state, history = fit(net(skip_non_finite=1), blow_up, (X, BAD), **settings)
    assert history["skipped"] == [2 / 8, 2 / 8]
    assert np.isfinite(history["loss"]).all()
    assert int(state.step) == 16
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    with pytest.raises(NonFiniteLossError, match="2 steps in a row had no finite gradients, the last step 3, in epoch"):
        fit(net(skip_non_finite=1), blow_up, (X, np.arange(16) // 2 % 4 > 1), **settings)
    with pytest.raises(NonFiniteLossError, match=r"the loss is (nan|inf|-inf) at step 2, in epoch 0"):
        fit(net(), blow_up, (X, BAD), **settings)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Precision("int8"), TypeError, "Precision: compute must be a floating-point dtype such as 'bfl"),
        (lambda: Precision("half a float"), TypeError, "Precision: compute must be a floating-point dtype .* 'half a"),
        (lambda: Precision("float16", scaler=2.0), TypeError, "Precision: scaler must be a GradScaler, got 2.0"),
        (lambda: GradScaler(growth_factor=1.0), ValueError, r"GradScaler: growth_factor must lie in \(1, inf"),
        (lambda: GradScaler(init_scale=0.0), ValueError, r"GradScaler: init_scale must lie in \(0, inf"),
        (lambda: GradScaler(backoff_factor=1.0), ValueError, r"GradScaler: backoff_factor must lie in \(0, 1\), got 1"),
        (lambda: GradScaler(growth_interval=0), ValueError, "GradScaler: growth_interval must be at least 1, got 0"),
        (lambda: net("bfloat16"), TypeError, "TrainState.create: precision must be a train.Precision, got 'bfloat16'"),
        (lambda: net(skip_non_finite=-1), ValueError, "TrainState.create: skip_non_finite must be at least 0, got -1"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_scale_is_that_of_pytorch_by_default():
    theirs = torch.amp.GradScaler("cpu")
    ours = dataclasses.asdict(GradScaler())
    assert ours == {
        "init_scale": theirs.get_scale(),
        "growth_factor": theirs.get_growth_factor(),
        "backoff_factor": theirs.get_backoff_factor(),
        "growth_interval": theirs.get_growth_interval(),
    }


def test_the_scale_does_not_carry_a_loss_beyond_its_dtype():
    product = scaled(jnp.float16(2.0), GradScaler().init())
    assert (product.dtype, float(product)) == (jnp.float32, 131072.0)


@pytest.mark.parametrize(
    ("precision", "skip_non_finite", "expected"),
    [(None, 0, 0), (None, 3, 3), ("bfloat16", 0, 0), ("float16", 0, 100), ("float16", 3, 3), ("float16", 200, 200)],
)
def test_how_many_steps_in_a_row_may_be_skipped(precision, skip_non_finite, expected):
    given = precision and Precision(precision)
    assert Options(precision=given, skip_non_finite=skip_non_finite).most_skipped == expected


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_the_guard_stops_at_every_loss_that_is_no_number(loss):
    guard, state = NonFiniteGuard(), net()
    guard.started(Run(range(1), 4, state, 0, History()))
    assert guard.took_note(0, {"loss": [1.0, 2.0]})
    assert not guard.took_note(0, {"loss": [1.0, loss]})
    guard.stepped(0, {"loss": 1.0})
    with pytest.raises(NonFiniteLossError, match=f"the loss is {loss} at step 1, in epoch 0"):
        guard.stepped(1, {"loss": loss})


def test_the_scale_grows_after_so_many_finite_steps_each_time():
    scaler = GradScaler(init_scale=1.0, growth_interval=3)
    state, scales = scaler.init(), []
    for step in range(12):
        state = scaler.update(state, step != 7)  # The count begins again with a step that is not finite.
        scales.append(float(state.scale))
    assert scales == [1.0, 1.0, 2.0, 2.0, 2.0, 4.0, 4.0, 2.0, 2.0, 2.0, 4.0, 4.0]


def test_a_scale_does_not_grow_to_infinity():
    largest = GradScalerState(jnp.float32(2.0**127), jnp.int32(0))
    assert float(GradScaler(growth_interval=1).update(largest, True).scale) == 2.0**127
