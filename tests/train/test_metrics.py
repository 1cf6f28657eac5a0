"""Averages over batches of different sizes, and when they are read."""

import math
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain.train import Average
from jaxtrain.train.metrics import Metrics, as_average
from jaxtrain.train.totals import Partial, Totals


def test_averages_add():
    total = Average(6.0, 4) + Average(0.0, 1)
    assert (total.total, total.count, total.value) == (6.0, 5, 1.2)


@jax.jit
def packed(scale):
    counts = {"ones": jnp.int32(3), "twos": jnp.int32(0), "matrix": jnp.ones((2, 2))}
    totals = {"ones": scale, "twos": jnp.int32(2**24 + 1), "matrix": scale * jnp.ones((2, 2))}
    return Metrics.of({name: Average(totals[name], counts[name]) for name in counts})


def test_numbers_of_a_step_are_in_one_array_for_each_dtype():
    metrics = packed(jnp.float32(1.5))
    assert sorted(jax.tree.map(jnp.shape, jax.tree.leaves(metrics))) == [(1,), (2, 2), (2, 2), (3,)]
    assert list(metrics) == ["matrix", "ones", "twos"]
    assert (float(metrics["ones"]), int(metrics["ones"].count)) == (0.5, 3)
    assert int(metrics["twos"].total) == 2**24 + 1
    assert math.isinf(float(metrics["twos"]))
    assert metrics["matrix"].value.tolist() == [[1.5, 1.5], [1.5, 1.5]]
    assert metrics["ones"] == Average(1.5, 3)
    with pytest.raises(KeyError):
        metrics["threes"]


def test_packed_numbers_are_stacked_and_added():
    scales = jnp.array([1.0, 2.0, 4.0])
    for stacked in (jax.lax.map(packed, scales), jax.vmap(packed)(scales)):
        assert stacked["ones"].total.tolist() == [1.0, 2.0, 4.0]
        assert stacked["twos"].count.tolist() == [0, 0, 0]
    both = jax.tree.map(jnp.add, packed(jnp.float32(1.5)), packed(jnp.float32(3.0)))
    assert (float(both["ones"].total), int(both["ones"].count)) == (4.5, 6)
    doubled = jax.jit(lambda metrics: (metrics["ones"] + metrics["ones"]).value)(both)
    assert float(doubled) == 0.75


def test_nothing_counted_is_nan():
    assert math.isnan(Average(0.0, 0).value)
    assert math.isnan(Average(jnp.float32(0), jnp.int32(0)).value)
    totals = Totals()
    totals.add({"tokens": Average(jnp.float32(0), jnp.int32(0))})
    assert math.isnan(totals.finish()["tokens"])


def test_average_is_a_pytree():
    doubled = jax.jit(lambda average: average + average)(Average(jnp.float32(1.5), jnp.int32(2)))
    assert (float(doubled.total), int(doubled.count)) == (3.0, 4)


@pytest.mark.parametrize(
    ("metric", "total", "count", "dtype"),
    [
        (jnp.float32(0.5), 1.5, 3, "float32"),
        (0.5, 1.5, 3, "float32"),
        (2, 6.0, 3, "float32"),
        (jnp.bfloat16(0.5), 1.5, 3, "float32"),
        (jnp.array([True, False, True]), 2, 3, "int32"),
        (jnp.array([[1, 2], [3, 4], [5, 6]], jnp.int8), 21, 6, "int32"),
        (jnp.arange(6), 15, 6, "int32"),
        (Average(7.0, 2), 7.0, 2, "float32"),
        (Average(jnp.bfloat16(7.0), jnp.float32(1.5)), 7.0, 1.5, "float32"),
    ],
)
def test_what_counts_how(metric, total, count, dtype):
    average = as_average("metric", metric, {"x": np.zeros((3, 2)), "key": np.float32(1)})
    assert (float(average.total), float(average.count), str(average.total.dtype)) == (total, count, dtype)


def test_a_batch_without_rows_counts_nothing():
    average = as_average("ones", jnp.ones(0), np.zeros((0, 2)))
    assert (float(average.total), int(average.count)) == (0.0, 0)


def test_sums_of_half_precision_go_on_counting():
    average = as_average("ones", jnp.ones(3000, jnp.bfloat16), ())
    assert (float(average.total), int(average.count)) == (3000.0, 3000)


def test_ragged_batches_average_to_the_last_digit():
    values = np.random.default_rng(0).integers(-(2**12), 2**12, 1000) / 2.0**10
    assert np.float32(values).tolist() == values.tolist()
    totals = Totals()
    for start in range(0, 1000, 64):
        totals.add({"mean": as_average("mean", jnp.float32(values[start : start + 64]), ())})
    assert totals.finish()["mean"] == values.sum() / 1000
    assert totals.steps == 16


def test_totals_are_kept_in_float64():
    totals = Totals()
    for _ in range(3):
        totals.add({"mean": Average(jnp.float32(2.0**24), jnp.int32(1))})
    totals.add({"mean": Average(jnp.float32(1.0), jnp.int32(0))})
    assert totals.finish()["mean"] * 3 == 3 * 2.0**24 + 1


def metrics_of(step):
    return {"accuracy": Average(jnp.int32(1), jnp.int32(2)), "loss": Average(jnp.float32(step), jnp.int32(1))}


def test_metrics_are_read_in_chunks_and_one_step_late(monkeypatch):
    monkeypatch.setattr(Totals, "_PATIENCE", math.inf)
    seen = []
    totals = Totals(lambda step, metrics: seen.extend(enumerate(metrics["loss"], step)))
    read = []
    for step in range(40):
        totals.add(metrics_of(step))
        read.append(totals.steps)
    assert read == 16 * [0] + 16 * [16] + 8 * [32]
    assert totals.steps == len(seen) == 32
    assert totals.finish() == {"loss": 19.5, "accuracy": 0.5}
    assert list(totals.averages()) == ["loss", "accuracy"]
    assert seen == [(step, float(step)) for step in range(40)]


def test_slow_steps_are_read_when_the_next_is_under_way(monkeypatch):
    monkeypatch.setattr(Totals, "_PATIENCE", 0.0)
    totals = Totals()
    read = []
    for step in range(3):
        totals.add(metrics_of(step))
        read.append(totals.steps)
    assert read == [0, 1, 2]


def test_the_host_waits_for_the_device_now_and_then(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(Totals, "_PATIENCE", 2.5)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    totals, read = Totals(), []
    for step in range(12):  # A second for each look at the clock: two where something is read.
        totals.add(metrics_of(step))
        read.append(totals.steps)
    assert read == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9, 9]


@pytest.mark.parametrize("steps", [None, 1, 3])
def test_what_is_done_of_an_epoch_is_counted_and_stays(monkeypatch, steps):
    monkeypatch.setattr(Totals, "_PATIENCE", math.inf)
    numbers = {"loss": Average(jnp.ones(() if steps is None else steps), jnp.ones(() if steps is None else steps))}
    begun = Partial(2, {"loss": Average(5.0, 2)})
    totals, each = Totals(begun=begun), steps or 1
    totals.add(numbers, steps)
    assert (totals.steps, totals.started) == (2, 2 + each)
    first = totals.partial()
    totals.add(numbers, steps)
    assert (totals.steps, totals.started) == (2 + each, 2 + 2 * each)
    second = totals.partial()
    assert totals.started == totals.steps == 2 + 2 * each
    for number, part in enumerate((begun, first, second)):
        assert part == Partial(2 + number * each, {"loss": Average(5.0 + number * each, 2 + number * each)})


def test_steps_of_one_program_are_told_one_by_one():
    seen = []
    totals = Totals(lambda step, metrics: seen.extend(enumerate(metrics["loss"], step)), first_step=5)
    totals.add({"loss": Average(jnp.array([3.0, 5.0, 7.0]), jnp.array([1, 2, 0]))}, 3)
    totals.add({"loss": Average(jnp.float32(4), jnp.int32(1))})
    assert totals.finish() == {"loss": 19 / 4}
    assert totals.steps == 4
    assert seen[:2] == [(5, 3.0), (6, 2.5)]
    assert math.isnan(seen[2][1])
    assert seen[3] == (8, 4.0)


def test_average_as_a_float():
    assert float(Average(jnp.float32(3.0), jnp.int32(2))) == 1.5
    assert math.isnan(float(Average(0.0, 0)))


def test_an_array_that_is_no_value_for_each_example_is_refused():
    with pytest.raises(ValueError, match=r"metric recall: .* each of the 32 rows, got shape \(3,\); give each number"):
        as_average("recall", jnp.ones(3), (np.zeros((32, 2)), np.zeros(32)))


def test_counts_of_arrays_cannot_be_logged():
    totals = Totals()
    totals.add({"recall": Average(jnp.float32(1), jnp.ones(3))})
    with pytest.raises(ValueError, match=r"metric recall: .* got a total of shape \(\) and a count of shape \(3,\)"):
        totals.finish()


@pytest.mark.parametrize("steps", [None, 2])
def test_averages_of_arrays_cannot_be_logged(steps):
    totals = Totals()
    shape = (3,) if steps is None else (2, 3)
    totals.add({"confusion": Average(jnp.ones(shape), jnp.ones(shape[:-1]))}, steps)
    with pytest.raises(
        ValueError, match=r"metric confusion: expected an Average of two numbers, got a total of shape \(3,\)"
    ):
        totals.finish()
