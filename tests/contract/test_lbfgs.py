"""What `lbfgs` promises beside its numbers: as every optimizer does, where that makes sense.

It does not for a part of the parameters (`masked`, `partition` into groups, a gradient of None), as the loss needs
all of them: that is refused, see tests/optim/test_optimizer_arguments.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxtrain import optim

SEARCHES = [None, "strong_wolfe"]
STEPS = 3
TARGETS = np.random.default_rng(0).normal(size=(STEPS, 8, 2)).astype(np.float32)


def make(lr=0.5, line_search_fn=None):
    return optim.lbfgs(lr, max_iter=3, history_size=4, line_search_fn=line_search_fn)


def parameters(dtype=jnp.float32):
    return {"bias": jnp.linspace(-1.0, 1.0, 8, dtype=dtype), "kernel": jnp.ones((8, 2), dtype) / 3}


def loss_at(target):
    """Curved along each axis in its own way, and not quadratic."""

    def loss(params):
        kernel = params["kernel"]
        error = (
            kernel * jnp.arange(1, 3, dtype=kernel.dtype)[None] + params["bias"][:, None] - target.astype(kernel.dtype)
        )
        return (error**2).sum() + (params["bias"] ** 4).sum()

    return loss


def update(optimizer, params, state, target):
    loss = loss_at(target)
    value, gradient = jax.value_and_grad(loss)(params)
    return optimizer.update(gradient, state, params, value_fn=loss, value=value)


def train(optimizer, params, targets):
    """All steps in one program: the parameters after the last."""

    def step(carry, target):
        params, state = carry
        updates, state = update(optimizer, params, state, target)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, optimizer.init(params)), targets)[0][0]


run = jax.jit(train, static_argnums=0)


@pytest.fixture(scope="module")
def plain():
    return run(make(), parameters(), TARGETS)


def assert_same(ours, expected, ulp):
    """Equal up to roundings, counted in units of the last place of the largest element."""

    def check(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=ulp * np.finfo(np.float32).eps * np.abs(b).max())

    jax.tree.map(check, ours, expected)


@pytest.mark.parametrize("line_search_fn", SEARCHES)
def test_second_step_compiles_nothing_and_keeps_structure_and_dtypes(line_search_fn):
    optimizer, traces = make(line_search_fn=line_search_fn), []

    @jax.jit
    def step(params, state, target):
        traces.append(None)
        updates, state = update(optimizer, params, state, target)
        return optax.apply_updates(params, updates), state

    params = parameters(jnp.bfloat16)
    state = initial = optimizer.init(params)
    for target in TARGETS:
        params, state = step(params, state, target)
    assert len(traces) == 1
    assert jax.tree.map(jax.typeof, state) == jax.tree.map(jax.typeof, initial)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}


def test_vmap_over_traced_learning_rates_and_problems():
    """Each lane stops by itself: those that go on do not move the others."""
    rates, problems = jnp.array([0.05, 0.5]), jnp.stack([TARGETS, 0 * TARGETS])

    def trained(lr, targets):
        return train(make(lr, "strong_wolfe"), parameters(), targets)

    lanes = jax.jit(jax.vmap(trained))(rates, problems)
    alone = jax.jit(lambda: jax.lax.map(lambda lane: trained(*lane), (rates, problems)))()
    assert_same(lanes, alone, 16)
    assert not np.allclose(lanes["kernel"][0], lanes["kernel"][1])


def nested(optimizer):
    """In a chain, behind a mask that hides nothing, as the only group."""
    group = optax.partition({"all": optimizer}, {"bias": "all", "kernel": "all"})
    return optax.chain(optax.identity(), optax.masked(group, {"bias": True, "kernel": True}))


def accumulating(optimizer):
    return optax.MultiSteps(optimizer, 1)  # its `gradient_transformation()` takes no loss


def injected(optimizer):
    del optimizer
    whole_numbers = ("max_iter", "max_eval", "history_size")
    return optax.inject_hyperparams(optim.lbfgs, static_args=whole_numbers)(lr=0.5, max_iter=3, history_size=4)


def scheduled(optimizer):
    del optimizer
    return make(lambda count: jnp.where(count < STEPS, 0.5, jnp.nan))


@pytest.mark.usefixtures("promotion")  # Optax's MultiSteps needs it.
@pytest.mark.parametrize("compose", [nested, accumulating, injected, scheduled])
def test_composition_changes_no_number(compose, plain):
    assert_same(run(compose(make()), parameters(), TARGETS), plain, 4)


def test_learning_rate_schedule_is_called_with_the_count():
    optimizer = make(lambda count: 0.5 / (1.0 + count.astype(float)))
    state, rates = optimizer.init(parameters()), []
    step = jax.jit(lambda state: update(optimizer, parameters(), state, TARGETS[0])[1])
    for _ in range(3):
        state = step(state)
        rates.append(float(state.lr))
    np.testing.assert_array_equal(rates, np.float32([0.5, 0.25, 0.5 / 3]))


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_sharded_parameters_give_the_same_numbers(plain, kind):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    trained = run(make(), jax.device_put(parameters(), NamedSharding(mesh, PartitionSpec("data"))), TARGETS)
    # The sums over all parameters are taken in another order.
    assert_same(trained, plain, 64)


def test_a_state_can_be_donated():
    optimizer, params = make(), parameters()
    step = jax.jit(lambda state: update(optimizer, params, state, TARGETS[0]), donate_argnums=0)
    _, state = step(optimizer.init(params))
    assert step(state)[1].count == 2


def test_map_params_finds_nothing_that_is_like_a_parameter():
    optimizer = make()
    state = optimizer.init(parameters())
    mapped = optax.tree.map_params(optimizer, lambda leaf: leaf + 1, state)
    jax.tree.map(np.testing.assert_array_equal, mapped, state)


@pytest.mark.parametrize("line_search_fn", SEARCHES)
def test_lowers_for_accelerators(line_search_fn):
    optimizer = make(lambda count: 0.5 * 0.9 ** count.astype(float), line_search_fn)
    exported = export.export(
        jax.jit(lambda params, state, target: update(optimizer, params, state, target)), platforms=["cuda", "tpu"]
    )(parameters(), optimizer.init(parameters()), TARGETS[0])
    assert exported.platforms == ("cuda", "tpu")
    assert "f64" in exported.mlir_module(), "the scalars are computed in float64"
