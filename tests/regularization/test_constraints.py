"""Constraints: where the parameters land, composition, precision, bad input."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxtrain import optim, regularization

KERNEL = jnp.array([[3.0, 0.3], [4.0, 0.4]])


def landed(constraint, kernel=KERNEL, update=None) -> Any:
    update = jnp.zeros_like(kernel) if update is None else update
    update, _ = constraint.update(update, constraint.init(kernel), kernel)
    return optax.apply_updates(kernel, update)


def test_max_norm_shrinks_only_what_is_too_long():
    np.testing.assert_allclose(landed(regularization.max_norm(1.0)), [[0.6, 0.3], [0.8, 0.4]], rtol=1e-6)


def test_max_norm_sees_the_updated_parameter():
    update = jnp.array([[-3.0, 0.3], [-3.0, 0.4]])
    np.testing.assert_allclose(landed(regularization.max_norm(1.0), update=update), [[0.0, 0.6], [1.0, 0.8]], rtol=1e-6)


@pytest.mark.parametrize(("p", "norm"), [(1.0, 7.0), (2.0, 5.0), (np.inf, 4.0)])
def test_unit_norm_of_each_order(p, norm):
    expected = np.array([[3.0, 3.0], [4.0, 4.0]]) / norm
    np.testing.assert_allclose(landed(regularization.unit_norm(p)), expected, rtol=1e-6)


def test_axis_counts_the_units():
    rows = landed(regularization.unit_norm(axis=0))
    np.testing.assert_allclose(jnp.linalg.norm(rows, axis=1), [1.0, 1.0], rtol=1e-6)
    images = landed(regularization.unit_norm(), jnp.ones((3, 3, 2, 8)))
    np.testing.assert_allclose(jnp.linalg.norm(images.reshape(18, 8), axis=0), np.ones(8), rtol=1e-6)


def test_zero_units_stay_zero():
    np.testing.assert_array_equal(landed(regularization.unit_norm(), jnp.zeros((3, 2))), np.zeros((3, 2)))
    np.testing.assert_array_equal(landed(regularization.max_norm(0.0)), np.zeros((2, 2)))


def test_non_negative_is_exact():
    weights, update = jnp.array([0.1, 1e-3, 5.0]), jnp.array([-0.3, -1e-3, 1e-7])
    np.testing.assert_array_equal(landed(regularization.non_negative(), weights, update), [0.0, 0.0, 5.0])


def test_allowed_parameters_keep_their_update_to_the_last_bit():
    update = jnp.full((2, 2), 1e-9)
    constraint = regularization.max_norm(100.0)
    np.testing.assert_array_equal(constraint.update(update, constraint.init(KERNEL), KERNEL)[0], update)


def test_a_unit_that_is_exactly_as_long_as_allowed_stays():
    rows = jnp.array([[1.0, 0.0], [0.0, 0.5]])
    np.testing.assert_array_equal(landed(regularization.max_norm(1.0), rows), rows)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(
    ("constraint", "project"),
    [
        (regularization.unit_norm(), lambda w: w / np.linalg.norm(w, axis=0)),
        (regularization.max_norm(2.0), lambda w: w * np.minimum(1, 2 / np.linalg.norm(w, axis=0))),
        (regularization.non_negative(), lambda w: np.maximum(w, 0)),
    ],
)
def test_updates_in_half_precision_are_rounded_once(dtype, constraint, project):
    kernel, update = (jnp.asarray(np.random.default_rng(seed).normal(size=(40, 6)), dtype) for seed in (0, 1))
    constrained, _ = constraint.update(update, constraint.init(kernel), kernel)
    old, change = np.asarray(kernel, np.float64), np.asarray(update, np.float64)
    assert constrained.dtype == dtype
    np.testing.assert_array_equal(constrained, (project(old + change) - old).astype(dtype))


def test_a_float32_update_of_a_half_precision_parameter_keeps_its_bits():
    kernel, update = jnp.ones((2, 3), jnp.bfloat16), jnp.arange(6.0).reshape(2, 3) / 7
    constraint = regularization.unit_norm()
    constrained, _ = constraint.update(update, constraint.init(kernel), kernel)
    moved = 1 + np.asarray(update, np.float64)
    np.testing.assert_allclose(np.asarray(constrained), moved / np.linalg.norm(moved, axis=0) - 1, rtol=1e-6)


def test_composes_with_an_optimizer_and_a_mask_in_one_compiled_step():
    params = {"kernel": KERNEL, "bias": jnp.array([5.0, 5.0])}
    optimizer = optax.chain(optim.sgd(0.1), optax.masked(regularization.max_norm(1.0), regularization.decay_mask))

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
        return optax.apply_updates(params, updates), state

    params, _ = step(params, optimizer.init(params))
    np.testing.assert_allclose(jnp.linalg.norm(params["kernel"], axis=0), [1.0, np.hypot(0.2, 0.3)], rtol=1e-6)
    np.testing.assert_allclose(params["bias"], [4.9, 4.9], rtol=1e-6)


def test_missing_gradients_stay_missing():
    constraint = regularization.non_negative()
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    updates, _ = constraint.update({"a": None, "b": -2 * jnp.ones(2)}, constraint.init(params), params)
    assert updates["a"] is None
    np.testing.assert_array_equal(updates["b"], [-1.0, -1.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: regularization.max_norm(-1.0), r"max_norm: maxnorm must lie in \[0, inf\], got -1.0"),
        (lambda: regularization.max_norm(1.0, 0.0), r"max_norm: p must lie in \(0, inf\], got 0.0"),
        (lambda: regularization.unit_norm(0.0), r"unit_norm: p must lie in \(0, inf\], got 0.0"),
        (lambda: regularization.unit_norm(eps=0.0), r"unit_norm: eps must lie in \(0, inf\], got 0.0"),
        (
            lambda: landed(regularization.max_norm(1.0), jnp.ones(3)),
            r"at least 2 dimensions, got shape \(3,\); .* optax.masked",
        ),
        (
            lambda: regularization.non_negative().update(KERNEL, optax.EmptyState()),
            "non_negative: expected the parameters, got None",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_offending_parameter_is_named():
    params = {"dense": {"kernel": KERNEL, "bias": jnp.ones(2)}}
    constraint = regularization.unit_norm()
    with pytest.raises(ValueError, match="got 'dense/bias' of shape"):
        constraint.update(params, constraint.init(params), params)
