"""What optimizers, clipping and averages compute at the edges of their arguments."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxtrain import optim

ROWS = optim.SparseRows(jnp.array([5, 1, 5]), jnp.array([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]]))


def test_clipping_of_single_rows_clips_their_values():
    norm: Any = optim.clip_grad_norm(1.0).update({"rows": ROWS}, ())[0]
    value: Any = optim.clip_grad_value(3.5).update({"rows": ROWS}, ())[0]
    assert norm["rows"].indices.tolist() == value["rows"].indices.tolist() == [5, 1, 5]
    np.testing.assert_allclose(norm["rows"].values, ROWS.values / (5 + 1e-6), rtol=1e-6)
    np.testing.assert_array_equal(value["rows"].values, [[3.0, 0.0], [0.0, 3.5], [0.0, 0.0]])


@pytest.mark.parametrize("order", [0.0, 1.0, 2.0, 2.5, -1.0, np.inf, -np.inf])
def test_injected_order_of_the_norm(order):
    gradients = {"a": jnp.array([3.0, -4.0]), "b": jnp.array([[1.0], [2.0]])}
    injected = optax.inject_hyperparams(optim.clip_grad_norm)(max_norm=0.5, norm_type=order)
    found, _ = jax.jit(injected.update)(gradients, injected.init(gradients))
    expected, _ = optim.clip_grad_norm(0.5, order).update(gradients, ())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)


@pytest.mark.parametrize("order", [0.0, 1.0, 2.5, -1.0, np.inf, -np.inf])
def test_every_order_of_the_norm_is_that_of_torch(order):
    gradients = {"a": np.array([3.0, -4.0], np.float32), "b": np.array([[1.0], [2.0]], np.float32)}
    theirs = {name: torch.zeros(array.shape, requires_grad=True) for name, array in gradients.items()}
    for name, parameter in theirs.items():
        parameter.grad = torch.from_numpy(gradients[name].copy())
    torch.nn.utils.clip_grad_norm_(theirs.values(), 0.5, order)
    found: Any = optim.clip_grad_norm(0.5, order).update(gradients, ())[0]
    for name, parameter in theirs.items():
        np.testing.assert_allclose(found[name], np.asarray(parameter.grad), rtol=1e-6)


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0, np.inf])
def test_clipping_can_be_differentiated_where_a_gradient_is_zero(order):
    """As long as another one is not, the norm does not depend on it."""

    def clipped(gradient):
        return optim.clip_grad_norm(1.0, order).update({"a": gradient, "b": jnp.array([3.0, 4.0])}, ())[0]["a"].sum()

    norm = np.linalg.norm([3.0, 4.0], order)
    np.testing.assert_allclose(jax.grad(clipped)(jnp.zeros(2)), [1 / norm, 1 / norm], rtol=1e-6)
    _, slope = jax.jvp(clipped, (jnp.zeros(2),), (jnp.ones(2),))
    np.testing.assert_allclose(slope, 2 / norm, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32"])
@pytest.mark.parametrize("rows", [6, 40_000])
def test_indices_of_every_width(dtype, rows):
    optimizer, table = optim.sparse_adam(0.1), jnp.ones((rows, 2))
    gradient = optim.SparseRows(jnp.array([3, 0, 3], dtype), jnp.ones((3, 2)))
    update, _ = optimizer.update(gradient, optimizer.init(table), table)
    assert sorted(set(np.flatnonzero(np.asarray(update)[:, 0]).tolist())) == [0, 3]
    np.testing.assert_allclose(np.asarray(update)[[0, 3]], -0.1, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "index"), [("uint8", 255), ("uint32", 2**32 - 1), ("int32", -2), ("int8", 6)])
def test_indices_outside_the_table_make_nan(dtype, index):
    optimizer, table = optim.sparse_adam(), jnp.ones((6, 2))
    gradient = optim.SparseRows(jnp.array([np.array(index).astype(dtype)]), jnp.ones((1, 2)))
    update: Any = optimizer.update(gradient, optimizer.init(table), table)[0]
    assert np.isnan(update).all()


OPTIMIZERS = {
    name
    for name, value in vars(optim).items()
    if inspect.isfunction(value) and "maximize" in inspect.signature(value).parameters
}


@pytest.mark.parametrize("name", sorted({*OPTIMIZERS, "muon"} - {"sparse_adam"}))
def test_steps_do_not_wrap(name):
    optimizer, params = getattr(optim, name)(), jnp.ones((2, 2))
    _, state = optimizer.update(params, optimizer.init(params), params)
    last = np.iinfo(np.int32).max
    for step in (jnp.int32(last), jnp.array([last], jnp.int32)):
        update, after = optimizer.update(params, state._replace(step=step), params)
        assert (np.asarray(update) < 0).all()
        assert np.all(after.step == last)


def test_the_number_of_averaged_models_does_not_wrap():
    average, last = optim.averaged_model(), np.iinfo(np.int32).max
    state = average.init(jnp.ones(2))._replace(n_averaged=jnp.int32(last))
    state = average.update_parameters(state, jnp.full(2, 3.0))
    assert state.n_averaged == last
    np.testing.assert_array_equal(state.module, [1.0, 1.0])


def test_the_counts_of_lbfgs_do_not_wrap():
    optimizer, params, last = optim.lbfgs(0.1, max_iter=3, history_size=3), jnp.ones(2), np.iinfo(np.int32).max

    def updated(state):
        return optimizer.update(2 * params, state, params, value_fn=lambda p: (p**2).sum())

    _, state = updated(optimizer.init(params))
    expected, _ = updated(state)
    assert state.stored == last % 3, "the same row of the ring"
    late = state._replace(func_evals=jnp.int32(last), n_iter=jnp.int32(last), stored=jnp.int32(last))
    found, late = updated(late)
    assert (late.func_evals, late.n_iter) == (last, last)
    assert late.stored > 0
    np.testing.assert_array_equal(found, expected)


def test_random_keys_among_the_buffers_are_copied():
    average = optim.averaged_model(use_buffers=True)
    state = average.init(jnp.ones(2), {"key": jax.random.key(0), "mean": jnp.zeros(2)})
    for _ in range(2):
        state = average.update_parameters(state, jnp.ones(2), {"key": jax.random.key(7), "mean": jnp.ones(2)})
    assert jax.random.key_data(state.buffers["key"]).tolist() == jax.random.key_data(jax.random.key(7)).tolist()
    assert state.buffers["mean"].tolist() == [1.0, 1.0]


def test_a_nan_element_does_not_stop_the_others_of_an_adafactor_vector():
    optimizer, params = optim.adafactor(), jnp.ones(4)
    update: Any = optimizer.update(jnp.array([1.0, jnp.nan, 2.0, 3.0]), optimizer.init(params), params)[0]
    np.testing.assert_allclose(update, [-0.01, np.nan, -0.01, -0.01], rtol=1e-6)


@jax.tree_util.register_pytree_with_keys_class
class Callable:
    """Parameters that can be called, as modules of Equinox."""

    def __init__(self, kernel, bias):
        self.kernel, self.bias = kernel, bias

    def __call__(self, x):
        return x @ self.kernel + self.bias

    def tree_flatten_with_keys(self):
        key = jax.tree_util.GetAttrKey
        return ((key("kernel"), self.kernel), (key("bias"), self.bias)), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


def test_groups_of_parameters_that_can_be_called():
    optimizer = optim.param_groups(optim.sgd, {"kernel$": {"lr": 0.1}, None: {}}, lr=1.0)
    params = Callable(jnp.ones((2, 2)), jnp.ones(2))
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    np.testing.assert_allclose(updates.kernel, -0.1, rtol=1e-6)
    np.testing.assert_allclose(updates.bias, -1.0, rtol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (2, 4)])
def test_adafactor_reads_its_smallest_variance_off_the_parameter(shape):
    """In bfloat16 it is 2**-14, and only gradients beyond are divided by their own size."""
    parameter, gradient = torch.ones(shape, dtype=torch.bfloat16), torch.full(shape, 1e-3, dtype=torch.bfloat16)
    parameter.requires_grad_().grad = gradient
    torch.optim.Adafactor([parameter], 0.5).step()
    ours, optimizer = jnp.ones(shape, jnp.bfloat16), optim.adafactor(0.5)
    step, _ = optimizer.update(jnp.full(shape, 1e-3, jnp.bfloat16), optimizer.init(ours), ours)
    np.testing.assert_array_equal(np.asarray(ours + step, np.float32), parameter.detach().float())


@pytest.mark.parametrize("same", [(-1, 1), (0, -2)])
def test_muon_counts_its_axis_from_either_end(same):
    gradient = jnp.arange(1.0, 9.0).reshape(2, 4)

    def step(axis):
        optimizer = optim.muon(1.0, axis=axis)
        return optimizer.update(gradient, optimizer.init(gradient), gradient)[0]

    one, other = map(step, same)
    np.testing.assert_array_equal(one, other)
    assert np.any(one != step(-1 - same[0]))


def test_a_pair_of_negative_curvature_leaves_the_memory_as_it_is():
    """From here the third of five iterations leads uphill in slope, and the next one divides by the old curvature."""

    def loss(x):
        return (x**2 / (1 + x**2)).sum()

    theirs = torch.tensor([0.85], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([theirs], max_iter=5)

    def closure():
        optimizer.zero_grad()
        value = loss(theirs)
        value.backward()
        return value

    optimizer.step(closure)
    with jax.enable_x64(True):
        ours, lbfgs = jnp.array([0.85]), optim.lbfgs(max_iter=5)
        step, state = lbfgs.update(jax.grad(loss)(ours), lbfgs.init(ours), ours, value_fn=loss)
        np.testing.assert_allclose(ours + step, theirs.detach(), rtol=1e-9)
    assert 0 < state.stored == len(optimizer.state[theirs]["old_dirs"]) < state.n_iter - 1
    np.testing.assert_allclose(state.H_diag, optimizer.state[theirs]["H_diag"], rtol=1e-9)
