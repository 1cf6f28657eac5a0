"""Batches of anything that can be iterated again and again."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxtrain.train import Batches, Listener, evaluate, fit
from jaxtrain.train.sources import Stream, are_arrays


def batches_of(net, rows=16):
    return [tuple(leaf[start : start + rows] for leaf in net.batch) for start in range(0, 40, rows)]


def trained(net, data, **changes):
    return fit(net.state, net.loss_fn, data, epochs=2, progress=False, **changes)


@pytest.fixture(scope="module")
def expected(net):
    return trained(net, net.batch, batch_size=16, shuffle=False, steps_per_dispatch=1)


def test_a_list_of_batches_is_the_arrays_in_order(net, expected, assert_same):
    state, history = trained(net, batches_of(net))
    assert_same(state, expected[0])
    assert history == expected[1]


def test_a_torch_loader_trains_to_the_same_numbers(net, expected, assert_same):
    x, y = map(torch.from_numpy, net.batch)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y.long()), batch_size=16)
    state, history = trained(net, loader, validation=loader)
    assert_same(state, expected[0])
    assert history["loss"] == expected[1]["loss"]
    assert history["val_loss"] == [
        pytest.approx(loss)
        for loss in trained(net, loader, validation=net.batch, validation_batch_size=40)[1]["val_loss"]
    ]
    assert evaluate(net.eval_step, state, loader) == pytest.approx(
        {name: history[f"val_{name}"][-1] for name in ("loss", "accuracy")}
    )


def test_a_function_gets_the_epoch(net, assert_same):
    asked = []

    def epoch(number):
        asked.append(number)
        yield from Batches(net.batch, 16, shuffle=True, seed=3).epoch(number)

    state, _ = trained(net, epoch, start_epoch=1)
    assert asked == [1]
    assert_same(state, trained(net, net.batch, batch_size=16, seed=3, start_epoch=1, steps_per_dispatch=1)[0])


def test_steps_are_known_as_soon_as_they_can_be(net):
    class Steps(Listener):
        def started(self, run):
            self.run, self.steps = run, [run.steps]

        def epoch_ended(self, epoch, entries, state):
            self.steps.append(self.run.steps)

    counted, uncounted = Steps(), Steps()
    trained(net, batches_of(net), listeners=[counted])
    trained(net, lambda epoch: iter(batches_of(net)), listeners=[uncounted])
    assert counted.steps == [3, 3, 3]
    assert uncounted.steps == [None, 3, 3]


def test_tensors_become_arrays_without_a_copy():
    floats, halves = torch.ones(3), torch.ones(2, dtype=torch.bfloat16)
    grown = torch.ones(2, requires_grad=True)
    ((a, b, c, d),) = Stream("fit: data", [(floats, halves, grown, 7)]).epoch(0)
    assert isinstance(a, np.ndarray)
    assert a.ctypes.data == floats.data_ptr()
    assert (b.dtype, b.tolist()) == (jnp.bfloat16, [1.0, 1.0])
    assert c.tolist() == [1.0, 1.0]
    assert (d.dtype, int(d)) == (np.int32, 7)
    (labels,) = Stream("fit: data", [torch.arange(3)]).epoch(0)
    assert labels.dtype == np.int32


@pytest.mark.parametrize(
    "make",
    [np.zeros, torch.zeros, lambda size: torch.zeros(size, dtype=torch.bfloat16)],
    ids=["NumPy", "torch", "half"],
)
def test_batches_may_be_drawn_into_the_same_memory(make):
    def drawn(epoch):
        memory = make(1000)
        for number in range(3):
            memory[:] = number
            yield {"x": memory}

    batches = list(Stream("fit: data", drawn).epoch(0))
    for number, batch in enumerate(batches):
        np.testing.assert_array_equal(np.asarray(batch["x"], np.float32), np.full(1000, number))


def test_what_counts_as_arrays():
    x = np.zeros(3)
    assert all(map(are_arrays, (x, jnp.zeros(3), (x, x), {"x": (x, x)}, [x, x], (x, {"y": x}))))
    assert not any(map(are_arrays, ([(x, x)], [{"x": x}], range(3), iter([x]), len, ())))


@pytest.mark.parametrize(
    ("data", "changes", "error", "message"),
    [
        (
            (b for b in ()),
            {},
            TypeError,
            r"again every epoch, got generator, which gives them once; pass list\(batches\)",
        ),
        (iter([()]), {}, TypeError, "got list_iterator, which gives them once"),
        (3, {}, TypeError, "expected arrays, an iterable of batches or a function that returns one, got int"),
        ([], {}, ValueError, "fit: data: expected at least one batch, got none in epoch 0"),
        ((np.zeros(3), np.zeros(3)), {}, ValueError, "expected batch_size with arrays in memory, got None"),
        (
            lambda epoch: None,
            {},
            TypeError,
            "returns the batches of an epoch, got one that returns None",
        ),
        ([["a"]], {}, TypeError, "expected arrays of numbers, got dtype <U1"),
        ([(np.zeros(3),)], {"drop_last": True}, ValueError, "expected drop_last=False with an iterable of batches"),
        (range(3), {"batch_size": 2}, TypeError, "got range; call numpy.asarray on it, or leave out batch_size"),
        ([(np.zeros(3),)], {"validation": (b for b in ())}, TypeError, "fit: validation: expected batches .* once"),
    ],
)
def test_bad_sources(net, data, changes, error, message):
    with pytest.raises(error, match=message):
        trained(net, data, **changes)
