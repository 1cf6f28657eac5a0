"""How steps go out: the same numbers in one program or in many, and nothing compiled twice."""

import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxtrain import losses, nn, optim, schedules
from jaxtrain.train import Batches, ReduceLROnPlateau, TrainState, fit
from jaxtrain.train.dispatch import Single, accelerator
from jaxtrain.train.sources import Stream


def run(net, size, state=None, **changes):
    settings = {"epochs": 3, "batch_size": 8, "validation": net.batch, "progress": False, **changes}
    return fit(state or net.state, net.loss_fn, net.batch, steps_per_dispatch=size, **settings)


@pytest.mark.parametrize("batch_size", [6, 7, 8, 40])
def test_many_steps_in_a_program_are_single_steps_to_rounding(net, batch_size):
    single, history = run(net, 1, batch_size=batch_size)
    for size in (2, 4, 64):
        state, again = run(net, size, batch_size=batch_size)
        assert int(state.step) == int(single.step)
        for one, other in zip(jax.tree.leaves(state.params), jax.tree.leaves(single.params), strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)
        assert list(again) == list(history)
        for name in history:
            np.testing.assert_allclose(again[name], history[name], rtol=1e-5)


def test_a_run_repeats_itself_bit_for_bit(net, assert_same):
    assert_same(run(net, None)[0], run(net, None)[0])


def test_drop_last_in_programs(net):
    state, _ = run(net, 3, batch_size=6, drop_last=True)
    assert int(state.step) == 3 * 6


def test_programs_wait_for_nothing_from_the_host(net):
    expected = run(net, 2)[1]
    # Data and orders are put on the device beforehand, where a transfer would wait for the program before it.
    with jax.transfer_guard_host_to_device("disallow"):
        assert run(net, 2)[1] == expected


def test_the_second_of_two_equal_runs_compiles_nothing(net):
    traces = []

    def loss_fn(model, batch):
        traces.append(1)
        return net.loss_fn(model, batch)

    optimizer = optim.adam()
    for expected in (4, 4, 8):
        for size in (None, 1):
            if expected == 8:  # another optimizer is another program
                optimizer = optim.adam() if size is None else optimizer
            fit(
                TrainState.create(net.Net(seed=expected), optimizer),
                loss_fn,
                net.batch,
                validation=net.batch,
                epochs=2,
                batch_size=16,
                steps_per_dispatch=size,
                progress=False,
            )
        # Training and validation, whole and last batches; a step alone and in a program is traced once.
        assert len(traces) == expected


def test_equal_modules_share_a_blueprint(net):
    optimizer = optim.adam()
    first, second = (TrainState.create(net.Net(seed=seed), optimizer).blueprint for seed in (0, 1))
    assert first is second
    assert TrainState.create(net.Net(), optim.adam()).blueprint is not first
    assert TrainState.create(nn.Linear(4, 3, rngs=nnx.Rngs(0)), optimizer).blueprint is not first


def test_a_module_that_cannot_be_compared_gets_its_own():
    class Labelled(nnx.Module):
        def __init__(self):
            self.w = nnx.Param(jnp.ones(()))
            self.names = nnx.static({1, 2})

    optimizer = optim.sgd()
    first, second = (TrainState.create(Labelled(), optimizer).blueprint for _ in range(2))
    assert first is not second


class Convolved(nnx.Module):
    def __init__(self, axis):
        self.axis = axis
        self.conv = nn.Conv(2, 3, kernel_size=(3, 3), axis=axis, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.conv(jnp.moveaxis(x, -1, self.axis)).max((2, 3) if self.axis == 1 else (1, 2))


def images(rows):
    return np.ones((rows, 6, 6, 2), np.float32), np.zeros(rows, np.int32)


def test_the_only_batch_of_every_epoch_is_sent_once():
    def sent(**options):
        single = Single(lambda state, batch: batch, Batches(np.arange(4), 4, **options))
        assert list(single.epoch(0, done=1)) == []
        return [dispatch(None) for epoch in (0, 1) for dispatch, _ in single.epoch(epoch)]

    first, again = sent()
    assert first is again
    assert isinstance(first, jax.Array)
    first, again = sent(shuffle=True)
    assert first.tolist() != again.tolist()


def classify(model, batch):
    return losses.cross_entropy(model(batch[0]), batch[1])


@pytest.mark.parametrize(("device", "order"), [(None, "aAbBcC"), (jax.devices("cpu")[0], "abAcBC")])
def test_batches_travel_to_an_accelerator_while_the_step_before_runs(device, order):
    """Small letters are batches drawn, capital ones steps."""
    happened = []

    def drawn(epoch):
        for letter in "abc":
            happened.append(letter)
            yield np.array(ord(letter))

    def step(state, batch):
        assert isinstance(batch, jax.Array) == (device is not None)
        happened.append(chr(int(batch)).upper())

    for dispatch, _ in Single(step, Stream("fit: data", drawn), device=device).epoch(0):
        dispatch(None)
    assert "".join(happened) == order


def test_a_cpu_gets_no_batch_ahead(net):
    assert accelerator(net.state, None) is None


def test_how_steps_go_out_is_logged(net, caplog):
    caplog.set_level(logging.INFO, "jaxtrain")

    def said(state, data, **changes):
        caplog.clear()
        fit(state, classify, data, epochs=1, progress=False, **changes)
        return [record.getMessage() for record in caplog.records if record.getMessage().startswith("fit")]

    state = net.state
    rows = tuple(leaf[:32] for leaf in net.batch)
    assert said(state, rows, batch_size=2, validation=rows) == [
        "fit: up to 16 steps in a program: starting a program costs time",
        "fit: validation: up to 16 steps in a program: starting a program costs time",
    ]
    assert said(state, rows, batch_size=32) == ["fit: single steps: an epoch has no more"]
    assert said(state, rows, batch_size=2, steps_per_dispatch=4) == [
        "fit: up to 4 steps in a program: so the caller chose"
    ]
    assert said(state, [rows]) == ["fit: single steps: the batches come from an iterable"]
    convolved = TrainState.create(Convolved(axis=-1), optim.sgd())
    assert said(convolved, images(4), batch_size=2) == [
        "fit: up to 2 steps in a program: starting a program costs time"
    ]
    convolved = TrainState.create(Convolved(axis=1), optim.sgd())
    assert said(convolved, images(4), batch_size=2) == [
        "fit: single steps: XLA is slow at these convolutions inside a loop on a CPU"
    ]
    everywhere = jax.device_put(state, jax.sharding.NamedSharding(jax.make_mesh((8,), ("data",)), jax.P()))
    assert said(everywhere, rows, batch_size=8) == [
        "fit: single steps: the state is spread over several devices, without a placement"
    ]


def test_large_steps_go_out_one_by_one(monkeypatch, net, caplog):
    from jaxtrain.train import dispatch

    caplog.set_level(logging.INFO, "jaxtrain")
    monkeypatch.setitem(dispatch._WORK, "cpu", 1.0)
    run(net, None, epochs=1)
    assert "multiplications is long enough by itself" in caplog.text


def test_each_program_is_compiled_once(net):
    """Arrays that are tied to a device and arrays that are not are two programs for JAX."""
    from jaxtrain.train.dispatch import kept, scanned
    from jaxtrain.train.step import make_train_step

    def loss_fn(model, batch):
        return net.loss_fn(model, batch)

    settings = {"epochs": 3, "batch_size": 8, "steps_per_dispatch": 5, "progress": False}
    optimizer = optax.inject_hyperparams(optim.sgd)(lr=0.1)
    rule = schedules.reduce_lr_on_plateau(0.1, patience=0)
    state, _ = fit(
        TrainState.create(net.Net(), optimizer),
        loss_fn,
        net.batch,
        listeners=[ReduceLROnPlateau("loss", rule)],
        **settings,
    )
    fit(state, loss_fn, net.batch, **settings)
    program: Any = scanned(kept(make_train_step, 8, loss_fn, observe=None, accumulate=1, placement=None))
    assert program._cache_size() == 1
