"""Listeners hear of everything, in order, and of the end whatever happens."""

import contextlib
import math
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain import optim
from jaxtrain.train import History, Listener, NonFiniteLossError, Run, StopRun, TrainState, fit
from jaxtrain.train.interrupt import InterruptBetweenSteps
from jaxtrain.train.listeners.listening import Listening

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Recorder(Listener):
    def __init__(self):
        self.told = []

    def started(self, run):
        self.told.append(("started", run.epochs, run.steps, int(run.state.step)))

    def stepped(self, step, metrics):
        self.told.append(("stepped", step, sorted(metrics)))

    def epoch_ended(self, epoch, entries, state):
        self.told.append(("epoch_ended", epoch, sorted(entries), int(state.step)))

    def ended(self, state, error):
        self.told.append(("ended", int(state.step), type(error).__name__))


def run(net, *listeners, **changes):
    settings = {"epochs": 3, "batch_size": 16, "progress": False, **changes}
    return fit(net.state, net.loss_fn, net.batch, listeners=listeners, **settings)


@pytest.mark.parametrize("steps_per_dispatch", [1, None])
def test_what_a_listener_hears(net, steps_per_dispatch):
    recorder = Recorder()
    run(net, recorder, epochs=2, start_epoch=0, steps_per_dispatch=steps_per_dispatch)
    steps = [[("stepped", step, ["accuracy", "loss"]) for step in range(first, first + 3)] for first in (0, 3)]
    logged = ["accuracy", "epoch", "loss", "lr"]
    assert recorder.told == [
        ("started", range(2), 3, 0),
        *steps[0],
        ("epoch_ended", 0, logged, 3),
        *steps[1],
        ("epoch_ended", 1, logged, 6),
        ("ended", 6, "NoneType"),
    ]


def test_metrics_of_the_steps_average_to_those_of_the_epoch(net):
    class Losses(Listener):
        def __init__(self):
            self.losses = []

        def stepped(self, step, metrics):
            self.losses.append(metrics["loss"])

    losses = Losses()
    _, history = run(net, losses, epochs=1)
    assert history["loss"] == [pytest.approx(np.average(losses.losses, weights=[16, 16, 8]), rel=1e-6)]


def test_a_listener_that_does_nothing_changes_nothing(net, assert_same):
    assert_same(run(net, Listener())[0], run(net)[0])


def test_stop_run_ends_the_run_and_all_hear_of_the_epoch(net):
    class Stop(Listener):
        def epoch_ended(self, epoch, entries, state):
            if epoch == 1:
                raise StopRun

    recorder = Recorder()
    state, history = run(net, Stop(), recorder)
    assert int(state.step) == 6
    assert history["epoch"] == [0, 1]
    assert [what[:2] for what in recorder.told[-2:]] == [("epoch_ended", 1), ("ended", 6)]
    assert recorder.told[-1][2] == "NoneType"


def test_a_state_that_a_listener_returns_goes_on(net):
    def zeroed(state):
        return TrainState(**{**vars(state), "params": jax.tree.map(jnp.zeros_like, state.params)})

    class Reset(Listener):
        def epoch_ended(self, epoch, entries, state):
            self.before = int(state.step)
            return zeroed(state) if epoch == 0 else None

        def ended(self, state, error):
            return zeroed(state)

    seen = []

    class See(Listener):
        def epoch_ended(self, epoch, entries, state):
            seen.append(float(jnp.abs(state.params["out"]["kernel"]).max()))

    state, _ = run(net, Reset(), See(), epochs=2)
    assert seen[0] == 0.0 < seen[1]
    assert float(jnp.abs(state.params["out"]["kernel"]).max()) == 0.0

    class Wrong(Listener):
        def epoch_ended(self, epoch, entries, state):
            return state.params

    with pytest.raises(TypeError, match="Wrong: expected a TrainState or None to be returned, got"):
        run(net, Wrong())


def test_an_error_carries_on_after_all_were_told(net):
    class Fail(Listener):
        def ended(self, state, error):
            raise OSError("disk full")

    class Break(Listener):
        def stepped(self, step, metrics):
            raise ZeroDivisionError

    first, last = Recorder(), Recorder()
    with pytest.raises(ZeroDivisionError):
        run(net, first, Break(), last)
    assert first.told[-1][2] == last.told[-1][2] == "ZeroDivisionError"
    with pytest.raises(OSError, match="disk full"):
        run(net, Fail(), last)
    assert last.told[-1] == ("ended", 9, "NoneType")
    with pytest.raises(OSError, match="disk full") as caught:
        run(net, Fail(), Break(), last)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("first", [OSError, KeyboardInterrupt], ids=["error", "Ctrl-C"])
def test_the_first_error_at_the_end_is_the_one_that_is_raised(net, first):
    class Fails(Listener):
        def __init__(self, error):
            self.error = error

        def ended(self, state, error):
            raise self.error

    last = Recorder()
    told = Listening(Run(range(1), 1, net.state, 0, History()), [Fails(first("first")), Fails(OSError("second")), last])
    with pytest.raises(first, match="first"), told:
        pass
    assert last.told[-1] == ("ended", 0, "NoneType")


def test_listeners_that_started_are_ended_if_one_fails_to_start(net):
    class Fail(Listener):
        def started(self, run):
            raise OSError("no such folder")

        def ended(self, state, error):
            raise AssertionError("it did not begin")

    first, last = Recorder(), Recorder()
    with pytest.raises(OSError, match="no such folder"):
        run(net, first, Fail(), last)
    assert first.told[1:] == [("ended", 0, "OSError")]
    assert last.told == []


class Press(Listener):
    """Presses Ctrl-C after some steps."""

    def __init__(self, step):
        self.step = step

    def stepped(self, step, metrics):
        if step == self.step:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("steps_per_dispatch", [1, None])
def test_ctrl_c_returns_the_state_and_the_history_so_far(net, caplog, steps_per_dispatch):
    recorder = Recorder()
    before = signal.getsignal(signal.SIGINT)
    state, history = run(net, Press(4), recorder, steps_per_dispatch=steps_per_dispatch, epochs=5)
    assert history["epoch"] == [0, 1]
    assert recorder.told[-1] == ("ended", int(state.step), "KeyboardInterrupt")
    assert int(state.step) == 6
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    assert signal.getsignal(signal.SIGINT) is before
    assert "interrupted in epoch 1, after step 6" in caplog.text


def test_ctrl_c_stops_in_the_middle_of_an_epoch(net):
    def batches(epoch):
        yield net.batch
        signal.raise_signal(signal.SIGINT)
        yield net.batch
        raise AssertionError("the run went on")

    state, history = fit(net.state, net.loss_fn, batches, epochs=2, progress=False)
    assert (int(state.step), dict(history)) == (2, {})


@pytest.mark.parametrize("which", SIGNALS)
def test_a_signal_at_the_end_of_an_epoch_stops_before_the_next_step(net, which):
    class Send(Listener):
        def epoch_ended(self, epoch, entries, state):
            signal.raise_signal(which)

    recorder = Recorder()
    with contextlib.suppress(SystemExit):
        run(net, recorder, Send(), steps_per_dispatch=1)
    assert recorder.told[-1][:2] == ("ended", 3)


def test_a_second_ctrl_c_interrupts_at_once(net):
    class Hang(Listener):
        def stepped(self, step, metrics):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("the second did nothing")

    state, history = run(net, Hang())
    assert list(history) == []
    assert int(state.step) >= 1


def handlers():
    return [signal.getsignal(which) for which in SIGNALS]


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_the_handlers_of_signals_come_back_however_a_run_ends(error):
    before = handlers()
    with contextlib.suppress(ZeroDivisionError), InterruptBetweenSteps():
        assert not set(handlers()) & set(before)
        if error:
            raise error
    assert handlers() == before


@pytest.mark.parametrize("which", SIGNALS)
def test_the_handler_of_somebody_else_stays(which):
    heard = []
    before = signal.signal(which, lambda number, frame: heard.append(number))
    try:
        with InterruptBetweenSteps() as interrupt:
            signal.raise_signal(which)
            interrupt.check()
        signal.raise_signal(which)
    finally:
        signal.signal(which, before)
    assert heard == [which] * 2


@pytest.mark.parametrize(
    ("sent", "error", "code"),
    [
        (["SIGINT"], KeyboardInterrupt, None),
        (["SIGTERM"], SystemExit, 143),
        (["SIGTERM", "SIGTERM"], SystemExit, 143),
        (["SIGTERM", "SIGINT"], KeyboardInterrupt, None),
        (["SIGINT", "SIGTERM"], SystemExit, 143),
    ],
)
def test_a_signal_waits_for_the_end_of_a_step_and_counts_once(sent, error, code):
    with InterruptBetweenSteps() as interrupt:
        interrupt.check()
        for _ in range(2):  # After the first it is as if there had been none.
            for name in sent:
                signal.raise_signal(getattr(signal, name))
            with pytest.raises(error) as caught:
                interrupt.check()
            assert getattr(caught.value, "code", None) == code
            interrupt.check()


def test_a_run_in_a_thread_leaves_signals_alone(net):
    found = []
    thread = threading.Thread(target=lambda: found.append(run(net, epochs=1)))
    thread.start()
    thread.join()
    assert len(found) == 1


def test_a_listener_may_look_at_the_run(net):
    class Look(Listener):
        def started(self, run):
            self.run = run

        def epoch_ended(self, epoch, entries, state):
            assert self.run.epoch == epoch
            assert self.run.state is state
            assert self.run.history["epoch"][-1] == epoch

    look = Look()
    state, history = run(net, look)
    assert look.run.state is state
    assert look.run.history is history
    assert look in look.run.listeners


def test_the_guard_is_first(net):
    def loss_fn(model, batch):
        return net.loss_fn(model, batch)[0] * jnp.nan

    recorder = Recorder()
    with pytest.raises(NonFiniteLossError, match="at step 0, in epoch 0"):
        fit(
            TrainState.create(net.Net(), optim.sgd()),
            loss_fn,
            net.batch,
            epochs=1,
            batch_size=8,
            listeners=[recorder],
            progress=False,
        )
    assert [what[0] for what in recorder.told] == ["started", "ended"]


class AtOnce(Listener):
    """Wants to hear of steps one by one only where the loss is above a limit."""

    def __init__(self, limit):
        self.limit = limit
        self.together, self.alone = [], []

    def took_note(self, step, metrics):
        self.together.append((step, len(metrics["loss"]), len(metrics["accuracy"])))
        return max(metrics["loss"]) < self.limit

    def stepped(self, step, metrics):
        self.alone.append(step)


def test_many_steps_are_told_at_once(net):
    calm, alarmed = AtOnce(math.inf), AtOnce(-math.inf)
    run(net, calm, alarmed, epochs=2)
    steps = [step for first, *counts in calm.together for step in range(first, first + counts[0])]
    assert steps == [0, 1, 2, 3, 4, 5]
    assert len(calm.together) < 6
    assert calm.together == alarmed.together
    assert (calm.alone, alarmed.alone) == ([], steps)


def test_a_function_hears_of_each_epoch(net):
    heard = []

    def enough(entries):
        if entries["epoch"] == 1:
            raise StopRun

    settings = {"epochs": 3, "batch_size": 20, "progress": False}
    # What a function does to its entries is not seen elsewhere.
    listeners = [dict.clear, heard.append, enough]
    _, history = fit(net.state, net.loss_fn, net.batch, listeners=listeners, **settings)
    assert heard == [{name: column[epoch] for name, column in history.items()} for epoch in range(2)]
