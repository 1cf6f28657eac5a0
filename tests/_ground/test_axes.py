"""One element of each row, and its derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain._ground.axes import is_at, pick

VALUES = jnp.arange(24.0).reshape(2, 3, 4)
POSITIONS = {0: [[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], 1: [[0, 2, 1, 0], [1, 1, 2, 2]], 2: [[3, 0, 1], [2, 2, 3]]}


@pytest.mark.parametrize("platform", ["cpu", "default"])
@pytest.mark.parametrize("axis", [0, 1, 2, -3, -2, -1])
def test_pick(axis, platform, monkeypatch):
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda *args, **branches: branches[platform](*args))
    index = np.array(POSITIONS[axis % 3])
    picked = np.take_along_axis(np.asarray(VALUES), np.expand_dims(index, axis), axis).squeeze(axis)
    chosen = np.zeros(VALUES.shape)
    np.put_along_axis(chosen, np.expand_dims(index, axis), 1.0, axis)

    def squares(values):
        return jnp.sum(pick(values, index, axis) ** 2)

    np.testing.assert_array_equal(pick(VALUES, index, axis), picked)
    np.testing.assert_array_equal(is_at(jnp.asarray(index), axis, VALUES.shape[axis]), chosen)
    np.testing.assert_array_equal(jax.grad(squares)(VALUES), 2 * chosen * VALUES)
    np.testing.assert_array_equal(jax.jvp(squares, (VALUES,), (VALUES,))[1], 2 * (picked**2).sum())
    np.testing.assert_array_equal(jax.jvp(jax.grad(squares), (VALUES,), (VALUES,))[1], 2 * chosen * VALUES)
    np.testing.assert_array_equal(jax.grad(lambda values: jnp.sum(jax.grad(squares)(values)))(VALUES), 2 * chosen)


@pytest.mark.parametrize(("platform", "is_scatter"), [("cpu", True), ("cuda", False), ("tpu", False)])
def test_the_gradient_of_pick_is_a_scatter_on_a_cpu_alone(platform, is_scatter):
    gradient = jax.jit(jax.grad(lambda values: jnp.sum(pick(values, jnp.array([1, 0]), -1))))
    program = gradient.trace(jnp.ones((2, 3))).lower(lowering_platforms=(platform,)).as_text()
    assert ("scatter" in program) == is_scatter
