"""How steps go out: the same numbers in one program or in many, and nothing compiled twice."""

import dataclasses
import logging
from itertools import chain
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxtrain import losses, nn, optim, schedules
from jaxtrain.train import Batches, Listener, Placement, ReduceLROnPlateau, TrainState, dispatch, fit, make_train_step
from jaxtrain.train.dispatch import Scanned, Single, accelerator, kept, scanned
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


def rows_of(dispatches):
    """The rows of each step, program by program, and the steps that are said of each program."""
    orders, steps = zip(*((dispatch(None), steps) for dispatch, steps in dispatches), strict=True)
    assert [len(order) for order in orders] == list(steps)
    return [[rows.tolist() for rows in order] for order in orders]


def fed(batches, size, sent=None):
    def put(tree):
        if sent is not None:
            sent.append(tree)
        return tree

    return Scanned(lambda state, data, order: order, batches, put, size)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("batch_size", [3, 4, 12])
@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_programs_have_the_batches_in_order_wherever_they_begin(size, batch_size, drop_last, shuffle):
    batches = Batches(np.arange(16), batch_size, shuffle, seed=1, drop_last=drop_last)
    feed = fed(batches, size)
    for epoch in (0, 2, 2, 1):
        expected = [batch.tolist() for batch in batches.epoch(epoch)]
        programs = rows_of(feed.epoch(epoch))
        assert list(chain(*programs)) == expected
        for done in range(1, len(expected)):
            assert list(chain(*rows_of(feed.epoch(epoch, done)))) == expected[done:]
        assert list(feed.epoch(epoch, len(expected))) == []
        whole = [len(program) for program in programs if len(program[0]) == batch_size]
        assert max(whole) <= min(size, min(whole) + 1)  # Nearly equal, and no more programs than it takes.
        assert len(whole) == -(-sum(whole) // size)


def test_the_next_order_is_sent_while_the_device_is_busy_and_an_order_that_stays_once():
    for shuffle in (True, False):
        sent = []
        feed = fed(Batches(np.arange(6), 2, shuffle), 2, sent)
        counts = [len(sent)]
        for epoch in range(3):
            dispatches = feed.epoch(epoch, 0, epoch + 1 if epoch < 2 else None)
            for program, _ in dispatches:
                program(None)
                counts.append(len(sent))
            counts.append(len(sent))
        # The data, then two programs an epoch: with shuffling those of the next are sent after the last is under way.
        assert counts == ([1, 3, 3, 5, 5, 5, 7, 7, 7, 7] if shuffle else [1] + 9 * [3])


def test_batches_of_another_size_are_no_new_shape(net, caplog):
    """Each size has a step of its own, and warns of its own shapes only."""

    def loss_fn(model, batch):
        return model.out(jnp.ones((1, 16))).mean() * batch[0].mean()

    for batch_size in (40, 20, 10, 8):
        fit(net.state, loss_fn, net.batch, epochs=1, batch_size=batch_size, steps_per_dispatch=1, progress=False)
    assert caplog.text == ""


def test_a_function_that_cannot_be_hashed_is_trained_too(net):
    @dataclasses.dataclass
    class Loss:
        weight: float

        def __call__(self, model, batch):
            return self.weight * model.out(jnp.ones((1, 16))).mean()

    with pytest.raises(TypeError):
        hash(Loss(1.0))
    state, _ = fit(net.state, Loss(2.0), net.batch, epochs=1, batch_size=20, progress=False)
    assert int(state.step) == 2


def test_a_program_consumes_the_state_that_it_gets(net):
    class Look(Listener):
        def __init__(self):
            self.states = []

        def dispatched(self, state):
            self.states.append(state)

    look = Look()
    run(net, 2, epochs=1, validation=None, listeners=[look])
    assert [all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params)) for state in look.states] == [
        True,
        True,
        False,
    ]


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

    for run_step, _ in Single(step, Stream("fit: data", drawn), device=device).epoch(0):
        run_step(None)
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
    caplog.set_level(logging.INFO, "jaxtrain")
    monkeypatch.setitem(dispatch._WORK, "cpu", 1.0)
    run(net, None, epochs=1)
    assert "multiplications is long enough by itself" in caplog.text


@pytest.mark.parametrize(
    ("work", "batches", "devices", "size"),
    [
        (1.0, 100, 1, 64),
        (1.0, 7, 1, 7),
        (2.5e10, 100, 1, 2),  # A program of two steps is worth it, and takes a second.
        (2.6e10, 100, 1, 1),
        (2.6e10, 100, 2, 3),  # Two devices share the work.
        (5e10, 2, 1, 1),
    ],
)
def test_how_many_steps_a_program_has(net, monkeypatch, work, batches, devices, size):
    monkeypatch.setattr(dispatch, "cost", lambda program, platform: (work, False))
    placement = Placement(jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices]))
    state = placement.put(net.state)
    step = SimpleNamespace(trace=lambda state, batch: SimpleNamespace(jaxpr=None))
    data = Batches(np.zeros((2 * batches, 3), np.float32), 2)
    assert dispatch._steps_in_a_program(step, data, state, placement)[0] == size
    # Where starting a program costs less, short epochs are still worth one.
    monkeypatch.setitem(dispatch._FEWEST, "cpu", 8)
    assert dispatch._steps_in_a_program(step, data, state, placement)[0] == (size if size >= min(8, batches) else 1)


@pytest.mark.parametrize(("rows", "size"), [(100, 50), (102, 1)])
def test_data_that_take_much_of_the_memory_stay_on_the_host(net, monkeypatch, rows, size):
    device = jax.devices()[0]
    monkeypatch.setattr(type(device), "memory_stats", lambda device: {"bytes_limit": 4 * 100 * 12})
    data, step = Batches(np.zeros((rows, 3), np.float32), 2), make_train_step(lambda model, x: model.norm.weight.sum())
    found, reason = dispatch._steps_in_a_program(step, data, net.state, None)
    assert found == size
    assert ("the data take 26% of the device's memory" in reason) == (size == 1)


def test_each_program_is_compiled_once(net):
    """Arrays that are tied to a device and arrays that are not are two programs for JAX."""

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
