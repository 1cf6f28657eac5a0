"""Batches of arrays in memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain.train import Batches


def order(batches, epoch):
    return [row for batch in batches.epoch(epoch) for row in batch.tolist()]


def rows(batches, epoch=0):
    return [x.tolist() for x in batches.epoch(epoch)]


def test_in_order_with_a_smaller_last_batch():
    batches = Batches(np.arange(7), 3)
    assert rows(batches) == [[0, 1, 2], [3, 4, 5], [6]]
    assert len(batches) == 3


def test_drop_last():
    batches = Batches(np.arange(7), 3, drop_last=True)
    assert rows(batches) == [[0, 1, 2], [3, 4, 5]]
    assert len(batches) == 2
    assert len(Batches(np.arange(6), 3, drop_last=True)) == len(Batches(np.arange(6), 3)) == 2


def test_shuffled_epochs_are_permutations_that_can_be_had_again():
    batches = Batches(np.arange(20), 6, shuffle=True, seed=5)
    orders = [order(batches, epoch) for epoch in range(3)]
    assert all(sorted(rows) == list(range(20)) for rows in orders)
    assert len({tuple(rows) for rows in orders}) == 3
    assert order(Batches(np.arange(20), 6, shuffle=True, seed=5), 2) == orders[2]
    assert order(Batches(np.arange(20), 6, shuffle=True, seed=6), 2) != orders[2]
    assert orders[:2] == [np.random.default_rng([5, epoch]).permutation(20).tolist() for epoch in range(2)]


@pytest.mark.parametrize("options", [{}, {"shuffle": True}, {"drop_last": True}])
def test_an_epoch_from_a_batch_on(options):
    batches = Batches(np.arange(7), 3, **options)
    for first in range(4):
        assert [x.tolist() for x in batches.epoch(2, first)] == rows(batches, 2)[first:]


def test_rows_stay_together_in_any_pytree():
    x = np.arange(10)
    batches = Batches({"x": x, "pair": (x * 2, jnp.stack([x, x], 1))}, 4, shuffle=True)
    for batch in batches.epoch(3):
        np.testing.assert_array_equal(batch["pair"][0], batch["x"] * 2)
        np.testing.assert_array_equal(batch["pair"][1][:, 1], batch["x"])


def test_arrays_come_in_the_dtypes_of_jax():
    data = (np.zeros(3), np.zeros(3, np.int64), np.zeros(3, np.uint8), jnp.zeros(3, jnp.bfloat16), np.zeros(3, bool))
    (batch,) = Batches(data, 3).epoch()
    assert [str(leaf.dtype) for leaf in batch] == ["float32", "int32", "uint8", "bfloat16", "bool"]
    assert all(isinstance(leaf, np.ndarray) for leaf in batch)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ((np.zeros((3, 2)), np.zeros(4)), ValueError, r"same number of rows, got shapes \[\(3, 2\), \(4,\)\]"),
        (np.zeros((0, 2)), ValueError, r"at least one row, got shapes \[\(0, 2\)\]"),
        ((), ValueError, "same number of rows, got shapes"),
        ((np.zeros(3), np.float32(1)), TypeError, "expected NumPy or JAX arrays, got float32"),
        ((np.zeros(3), np.zeros(())), ValueError, r"same number of rows, got shapes \[\(3,\), \(\)\]"),
        ([0, 1, 2], TypeError, "expected NumPy or JAX arrays, got int; call numpy.asarray"),
        ((np.zeros(3), None), TypeError, "expected NumPy or JAX arrays, got NoneType"),
        (np.array(["a", "b"]), TypeError, "expected arrays of numbers, got dtype <U1"),
        (jax.random.split(jax.random.key(0)), TypeError, "expected arrays of numbers, got dtype key<fry>"),
        (np.array([None, 1]), TypeError, "expected arrays of numbers, got dtype object"),
    ],
)
def test_wrong_data(data, error, message):
    with pytest.raises(error, match=f"Batches: data: .*{message}"):
        Batches(data, 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "Batches: batch_size must be from 1 to 5, got 0"),
        ({"batch_size": 6}, ValueError, "Batches: batch_size must be from 1 to 5, got 6"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be an integer, got 2.0"),
        ({"batch_size": True}, TypeError, "batch_size must be an integer, got True"),
        ({"batch_size": 2, "shuffle": "no"}, TypeError, "Batches: shuffle must be True or False, got 'no'"),
        ({"batch_size": 2, "drop_last": 1}, TypeError, "Batches: drop_last must be True or False, got 1"),
        ({"batch_size": 2, "seed": -1}, ValueError, "Batches: seed must be at least 0, got -1"),
    ],
)
def test_wrong_numbers(arguments, error, message):
    with pytest.raises(error, match=message):
        Batches(np.zeros(5), **arguments)


@pytest.mark.parametrize("shuffle", [False, True])
def test_wrong_epochs(shuffle):
    with pytest.raises(ValueError, match="Batches: epoch must be at least 0, got -1"):
        Batches(np.zeros(5), 2, shuffle).order(-1)
