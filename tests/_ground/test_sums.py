"""Sums in stages: as accurate as in float64, in every transformation, wherever the elements lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxtrain._ground.float64 import in_float64
from jaxtrain._ground.sums import float64_sum

SHAPES = [(), (0,), (7, 5), (100_003,), (1009, 97), (2, 60_000), (60_000, 2), (16, 32, 32, 3)]
UNIT = 2.0**-24

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def total(values):
    return in_float64(float64_sum, values, dtype=values.dtype)


def draw(shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape).astype(np.float32)


@every_shape
def test_the_sum_is_as_accurate_as_in_float64(shape):
    errors = []
    for seed in range(10):
        values = draw(shape, seed)
        truth = values.sum(dtype=np.float64)
        errors.append((float(jax.jit(total)(values)) - truth) / max(abs(truth), 1))
    assert np.sqrt(np.mean(np.square(errors))) <= UNIT


@pytest.mark.parametrize("shape", [(1009, 97), (16, 32, 32, 3)], ids=str)
def test_one_value_many_times_adds_up(shape):
    constant = np.full(shape, 0.1, np.float32)
    np.testing.assert_allclose(jax.jit(total)(constant), constant.sum(dtype=np.float64), rtol=4 * UNIT)


@every_shape
def test_float64_is_summed_in_float64(shape):
    with jax.enable_x64(True):
        values = jnp.asarray(draw(shape), jnp.float64) / 3
        np.testing.assert_allclose(total(values), np.asarray(values).sum(), rtol=1e-14)


@every_shape
def test_gradient_and_tangent_are_those_of_a_sum(shape):
    values, tangent = draw(shape), draw(shape, 1)
    gradient = jax.grad(lambda values: 3 * total(values))(values)
    assert gradient.dtype == jnp.float32
    assert gradient.shape == shape
    assert (gradient == 3).all()
    np.testing.assert_allclose(jax.jvp(total, (values,), (tangent,))[1], tangent.sum(dtype=np.float64), rtol=4 * UNIT)


def test_under_vmap_and_scan_each_sum_is_its_own():
    stack = draw((3, 1009, 97))
    expected = stack.sum((1, 2), dtype=np.float64)
    np.testing.assert_allclose(jax.vmap(total)(stack), expected, rtol=4 * UNIT)
    np.testing.assert_allclose(jax.lax.map(total, stack), expected, rtol=4 * UNIT)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_a_sharded_batch_is_summed_where_it_lies(axis_type):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(axis_type,))
    values = draw((1024, 200))
    with jax.set_mesh(mesh):
        sharded = jax.device_put(values, NamedSharding(mesh, PartitionSpec("data")))
        compiled = jax.jit(jax.value_and_grad(lambda values: total(values * values))).lower(sharded).compile()
        value, gradient = compiled(sharded)
    np.testing.assert_allclose(value, np.square(values).sum(dtype=np.float64), rtol=2 * UNIT)
    np.testing.assert_allclose(gradient, 2 * values)
    assert gradient.sharding.is_equivalent_to(sharded.sharding, 2)
    assert "all-gather" not in compiled.as_text()
    assert "all-to-all" not in compiled.as_text()


@pytest.mark.parametrize("shape", [(1009, 97), (60_000, 2), (100_003,)], ids=str)
def test_no_float64_array_is_as_large_as_the_input(shape):
    program = jax.jit(jax.value_and_grad(total)).lower(draw(shape)).as_text()
    assert "f64>" in program
    assert f"tensor<{'x'.join(map(str, shape))}xf64>" not in program
