"""What every optimizer promises beside its numbers, checked on one table."""

import inspect
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxtrain import optim

OPTIMIZERS = {
    "sgd": lambda lr: optim.sgd(lr, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "adadelta": optim.adadelta,
    "adafactor": optim.adafactor,
    "adagrad": optim.adagrad,
    "adam": lambda lr: optim.adam(lr, amsgrad=True, weight_decay=0.01),
    "adamax": optim.adamax,
    "adamw": optim.adamw,
    "asgd": optim.asgd,
    "muon": optim.muon,
    "nadam": optim.nadam,
    "radam": optim.radam,
    "rmsprop": lambda lr: optim.rmsprop(lr, centered=True, momentum=0.9),
    "rprop": optim.rprop,
    "sparse_adam": optim.sparse_adam,
}
STEPS = 4
# What shapes the program, and looks like a number or a schedule to Optax.
STATIC = {"muon": ("ns_steps", "axis", "dtype")}


def parameters(name, dtype=jnp.float32):
    bias = jnp.linspace(-1.0, 1.0, 8, dtype=dtype)
    # Muon takes matrices only.
    return {"bias": bias[:, None] if name == "muon" else bias, "kernel": jnp.ones((8, 2), dtype) / 3}


def gradients(name, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    dense = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=(STEPS, *p.shape)), dtype), parameters(name))
    if name != "sparse_adam":
        return dense
    # A row twice, two rows not at all, and a place without a row.
    indices = jnp.tile(jnp.array([3, 0, 3, 7, -1, 5, 2, 1], jnp.int32), (STEPS, 1))
    return jax.tree.map(lambda values: optim.SparseRows(indices, values), dense)


def first(gradients):
    return jax.tree.map(lambda g: g[0], gradients)


def train(optimizer, params, gradients):
    """All steps in one program: the parameters after the last."""

    def step(carry, gradient):
        params, state = carry
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, optimizer.init(params)), gradients)[0][0]


@pytest.fixture(scope="module")
def plain():
    """The parameters after training with the bare optimizer, by name."""
    return {
        name: jax.jit(train, static_argnums=0)(make(0.1), parameters(name), gradients(name))
        for name, make in OPTIMIZERS.items()
    }


def assert_same(ours, expected, ulp=4):
    """Equal up to roundings, counted in units of the last place of the largest element."""

    def check(a, b):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=ulp * np.finfo(np.float32).eps * np.abs(b).max())

    jax.tree.map(check, ours, expected)


@pytest.fixture(params=OPTIMIZERS)
def name(request):
    return request.param


def test_second_step_compiles_nothing_and_keeps_structure_and_dtypes(name):
    optimizer, traces = OPTIMIZERS[name](0.1), []

    @jax.jit
    def step(params, state, gradient):
        traces.append(None)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    params = parameters(name, jnp.bfloat16)
    state = initial = optimizer.init(params)
    for index in range(3):
        params, state = step(params, state, jax.tree.map(lambda g, i=index: g[i], gradients(name, jnp.bfloat16)))
    assert len(traces) == 1
    assert jax.tree.map(jax.typeof, state) == jax.tree.map(jax.typeof, initial)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}


def nested(optimizer):
    """The optimizer for each of two groups, behind a mask, in a chain."""
    groups = optax.partition({"a": optimizer, "b": optimizer}, {"bias": "a", "kernel": "b"})
    return optax.chain(optax.identity(), optax.masked(groups, {"bias": True, "kernel": True}))


def accumulating(optimizer):
    return optax.MultiSteps(optimizer, 1).gradient_transformation()


@pytest.mark.usefixtures("promotion")  # Optax's MultiSteps needs it.
@pytest.mark.parametrize("compose", [nested, accumulating])
def test_composition_changes_no_number(name, compose, plain):
    if (name, compose) == ("sparse_adam", accumulating):
        return  # adds up the gradients of several steps, element by element; those of SparseRows are of other rows
    composed = jax.jit(train, static_argnums=0)(compose(OPTIMIZERS[name](0.1)), parameters(name), gradients(name))
    assert_same(composed, plain[name])


def test_masked_out_parameters_receive_the_raw_update(name):
    optimizer = optax.masked(OPTIMIZERS[name](0.1), {"bias": False, "kernel": True})
    gradient = first(gradients(name))
    updates, _ = optimizer.update(gradient, optimizer.init(parameters(name)), parameters(name))
    assert_same(updates["bias"], gradient["bias"], 0)
    assert jnp.shape(updates["kernel"]) == (8, 2)
    assert not np.array_equal(updates["kernel"], getattr(gradient["kernel"], "values", gradient["kernel"]))


def test_inject_hyperparams_gives_the_same_numbers(name, plain):
    optimizer = optax.inject_hyperparams(lambda lr: OPTIMIZERS[name](lr))(lr=0.1)
    params = jax.jit(train, static_argnums=0)(optimizer, parameters(name), gradients(name))
    # The rate travels as a float32 array: an ulp of it is an ulp of every update.
    assert_same(params, plain[name], 16)


def test_every_hyperparameter_can_be_injected(name):
    factory = getattr(optim, name)
    numbers = optax.inject_hyperparams(factory, static_args=STATIC.get(name, ()))(lr=0.1)
    params = jax.jit(train, static_argnums=0)(numbers, parameters(name), gradients(name))
    expected = jax.jit(train, static_argnums=0)(factory(0.1), parameters(name), gradients(name))
    assert_same(params, expected, 64)


def test_vmap_over_traced_learning_rates(name, plain):
    rates = jnp.array([0.05, 0.1])
    run = jax.jit(jax.vmap(lambda lr: train(OPTIMIZERS[name](lr), parameters(name), gradients(name))))
    assert_same(jax.tree.map(lambda p: p[1], run(rates)), plain[name], 16)


def test_learning_rate_schedule_is_called_with_the_count(name):
    optimizer = OPTIMIZERS[name](lambda count: 0.1 / (1.0 + count.astype(float)))
    state, rates = optimizer.init(parameters(name)), []
    gradient = first(gradients(name))
    for _ in range(3):
        _, state = optimizer.update(gradient, state, parameters(name))
        rates.append(float(state.lr))
    np.testing.assert_array_equal(rates, np.float32([0.1, 0.1 / 2, 0.1 / 3]))


def test_parameters_without_gradient_stand_still_and_keep_their_step(name):
    optimizer = OPTIMIZERS[name](0.1)
    gradient = first(gradients(name))
    updates, state = optimizer.update(gradient, optimizer.init(parameters(name)), parameters(name))
    updates, skipped = optimizer.update({**gradient, "bias": None}, state, parameters(name))
    assert not updates["bias"].any()
    assert skipped.step.tolist() == [1, 2]
    buffers = [field for field in state._fields if isinstance(getattr(state, field), dict)]
    assert buffers
    for field in buffers:
        assert_same(getattr(skipped, field)["bias"], getattr(state, field)["bias"], 0)


def test_steps_that_differ_and_steps_that_are_shared_give_the_same_numbers(name, plain):
    optimizer = OPTIMIZERS[name](0.1)

    def separated(params):
        return optim.separate_steps(optimizer.init(params))

    assert separated(parameters(name)).step.shape == (2,)
    apart = jax.jit(train, static_argnums=0)(
        optax.GradientTransformation(separated, optimizer.update), parameters(name), gradients(name)
    )
    assert_same(apart, plain[name])


def test_places_without_a_parameter_are_not_parameters(name):
    """Trees that hold None for what is not trained, as Equinox filters them."""
    optimizer, gradient = OPTIMIZERS[name](0.1), {**first(gradients(name)), "static": None}
    params = {**parameters(name), "static": None}
    state = optimizer.init(params)
    updates, state = optimizer.update(gradient, state, params)
    assert state.step.shape == ()
    assert updates["static"] is None
    assert optim.separate_steps(state).step.shape == (2,)


def test_profiles_show_the_name(name):
    optimizer, params = OPTIMIZERS[name](0.1), parameters(name)
    lowered = jax.jit(optimizer.update).lower(first(gradients(name)), optimizer.init(params), params)
    assert f"/{name}/" in lowered.as_text(debug_info=True)


def test_a_schedule_that_returns_several_numbers_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name}: lr must be one number, but its schedule returned .* \(2,\)"):
        OPTIMIZERS[name](lambda count: jnp.array([0.1, 0.05])).init(parameters(name))


def test_gradients_of_rows_are_for_sparse_adam_only(name):
    optimizer, params = OPTIMIZERS[name](0.1), parameters(name)
    given = jax.tree.map(lambda p: optim.SparseRows(jnp.arange(2), p[:2]), params)
    if name == "sparse_adam":
        optimizer.update(given, optimizer.init(params), params)
        return
    with pytest.raises(TypeError, match=rf"{name}: expected a dense gradient, got SparseRows at \['bias'\]"):
        optimizer.update(given, optimizer.init(params), params)


def test_a_state_of_another_optimizer_is_refused(name):
    optimizer, params, gradient = OPTIMIZERS[name](0.1), parameters(name), first(gradients(name))
    other = optax.sgd(0.1).init(params)
    with pytest.raises(TypeError, match=rf"{name}: expected the \w+State that its init returns, got tuple"):
        optimizer.update(gradient, other, params)


@pytest.mark.parametrize(
    ("before", "after", "missing"),
    [
        (optim.sgd(0.1), optim.sgd(0.1, momentum=0.9), "momentum_buffer"),
        (optim.adam(), optim.adam(amsgrad=True), "max_exp_avg_sq"),
        (optim.rmsprop(), optim.rmsprop(centered=True, momentum=0.9), "grad_avg and momentum_buffer"),
    ],
    ids=["sgd", "adam", "rmsprop"],
)
def test_options_that_a_state_lacks_buffers_for_are_refused(before, after, missing):
    params = parameters("sgd")
    with pytest.raises(ValueError, match=rf"expected a state with {missing}, which these options need"):
        after.update(params, before.init(params), params)


def test_without_buffers_a_missing_gradient_keeps_the_state_as_it_is():
    optimizer, params = optim.sgd(0.1), {"a": jnp.ones(2), "b": jnp.ones(2)}
    updates, state = optimizer.update(
        {"a": jnp.ones(2), "b": None}, optim.separate_steps(optimizer.init(params)), params
    )
    assert jax.tree.map(lambda update: update.tolist(), updates) == {"a": [np.float32(-0.1)] * 2, "b": [0.0, 0.0]}
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, optimizer.init(params))


@pytest.mark.parametrize("init", ["shared", "separate"])
def test_float64_work_does_not_grow_with_the_number_of_parameters(name, init):
    optimizer = OPTIMIZERS[name](lambda count: 0.1 * 0.5 ** count.astype(float))

    def float64_values(number):
        params = {f"{index:02d}": jnp.ones((4, 2)) for index in range(number)}
        rows = optim.SparseRows(jnp.arange(3), jnp.ones((3, 2)))
        given = jax.tree.map(lambda p: rows if name == "sparse_adam" else p, params)
        state = optimizer.init(params)
        state = optim.separate_steps(state) if init == "separate" else state
        text = jax.jit(optimizer.update).lower(given, state, params).as_text()
        if init == "shared":
            assert not re.search(r"tensor<\d+x[^>]*f64>", text), "one number serves all parameters"
        return sum(bool(re.search(r" = stablehlo.*f64>", line)) for line in text.splitlines())

    assert 0 < float64_values(2) == float64_values(12)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("axes", [("data",), ("data", "model")])
def test_sharded_state_gives_the_same_numbers(name, plain, kind, axes):
    sizes = {("data",): (8,), ("data", "model"): (4, 2)}[axes]
    mesh = jax.make_mesh(sizes, axes, axis_types=(kind,) * len(axes))

    def put(array, *before):
        spec = (None, *axes) if array.shape[-1] == 2 else (None, "data")
        return jax.device_put(array, NamedSharding(mesh, PartitionSpec(*spec[1 - len(before) :][: array.ndim])))

    params = jax.tree.map(put, parameters(name))
    steps = gradients(name)
    if name != "sparse_adam":
        steps = jax.tree.map(lambda array: put(array, "steps"), steps)
    trained = jax.jit(train, static_argnums=0)(OPTIMIZERS[name](0.1), params, steps)
    if kind is AxisType.Explicit:
        for key, before in params.items():
            assert trained[key].sharding.is_equivalent_to(before.sharding, before.ndim)
    assert_same(trained, plain[name], 16)


def test_a_state_can_be_donated(name):
    optimizer, params, given = OPTIMIZERS[name](0.1), parameters(name), first(gradients(name))
    step = jax.jit(lambda state: optimizer.update(given, state, params), donate_argnums=0)
    _, state = step(optimizer.init(params))
    updates, _ = step(state)
    expected, _ = optimizer.update(given, optimizer.update(given, optimizer.init(params), params)[1], params)
    assert_same(updates, expected)


def test_map_params_finds_the_buffers(name):
    """Optax's way to cast, shard or freeze what a state holds for each parameter."""
    optimizer, params = OPTIMIZERS[name](0.1), parameters(name)
    state = optimizer.init(params)
    shapes = [(8, 2), (8,)] if name != "muon" else [(8, 2), (8, 1)]
    mapped = optax.tree.map_params(optimizer, lambda leaf: leaf.astype(jnp.bfloat16), state)
    for field, before in state._asdict().items():
        dtypes = {leaf.dtype for leaf in jax.tree.leaves(getattr(mapped, field))}
        if isinstance(before, dict):
            assert dtypes == {jnp.dtype(jnp.bfloat16)}
        else:
            assert getattr(mapped, field) is before
    if name != "adafactor":
        summed: Any = optax.tree.map_params(optimizer, lambda leaf, parameter: leaf + parameter, state, params)
        buffers = [buffer for buffer in summed if isinstance(buffer, dict)]
        assert {leaf.shape for buffer in buffers for leaf in buffer.values()} == set(shapes)


def test_map_params_of_groups():
    groups = optim.param_groups(optim.adam, {"kernel": {"lr": 0.1}, None: {}})
    state = groups.init(parameters("adam"))
    mapped = optax.tree.map_params(groups, lambda leaf: leaf.astype(jnp.bfloat16), state)
    kernels, others = mapped.inner_states["kernel"].inner_state, mapped.inner_states["*"].inner_state
    assert kernels.exp_avg["kernel"].dtype == others.exp_avg["bias"].dtype == jnp.bfloat16
    assert kernels.lr.dtype == jnp.float32


def test_half_precision_is_rounded_once(name):
    """From the same numbers, the update and the state in bfloat16 are those of float32, rounded."""
    optimizer = OPTIMIZERS[name](0.1)

    def in_dtype(tree, dtype):
        return jax.tree.map(lambda leaf: leaf.astype(dtype) if leaf.ndim and leaf.dtype != jnp.int32 else leaf, tree)

    @jax.jit
    def steps(params, gradients):
        state = optimizer.init(params)
        for _ in range(2):
            _, state = optimizer.update(first(gradients), state, params)
        last = jax.tree.map(lambda g: g[1], gradients)
        return [
            optimizer.update(in_dtype(last, dtype), in_dtype(state, dtype), in_dtype(params, dtype))
            for dtype in (jnp.bfloat16, jnp.float32)
        ]

    half, wide = steps(parameters(name, jnp.bfloat16), gradients(name, jnp.bfloat16))
    for narrow, exact in zip(jax.tree.leaves(half), jax.tree.leaves(wide), strict=True):
        assert narrow.dtype == (jnp.bfloat16 if narrow.ndim else exact.dtype)
        same = np.asarray(narrow == exact.astype(narrow.dtype))
        assert same.sum() >= 0.95 * same.size


def test_lowers_for_accelerators(name):
    optimizer = OPTIMIZERS[name](lambda count: 0.1 * 0.5 ** count.astype(float))
    exported = export.export(jax.jit(lambda g, s, p: optimizer.update(g, s, p)), platforms=["cuda", "tpu"])(
        first(gradients(name)), optimizer.init(parameters(name)), parameters(name)
    )
    assert exported.platforms == ("cuda", "tpu")
    assert "f64" in exported.mlir_module(), "the scalars are computed in float64"


def test_every_elementwise_optimizer_keeps_the_contract():
    others = {
        "averaged_model": "averages parameters, updates nothing",
        "clip_grad_norm": "no optimizer",
        "clip_grad_value": "no optimizer",
        "get_ema_avg_fn": "no optimizer",
        "get_swa_avg_fn": "no optimizer",
        "lbfgs": "needs the loss as a function of the parameters: test_lbfgs_contract.py",
        "param_groups": "composes optimizers",
        "separate_steps": "reshapes a state",
    }
    public = {name for name, value in vars(optim).items() if inspect.isfunction(value)}
    assert public - OPTIMIZERS.keys() == others.keys()


def test_integer_parameters_are_refused(name):
    with pytest.raises(TypeError, match=r"expected floating point parameters, got int32 at \['table'\]"):
        OPTIMIZERS[name](0.1).init({"table": jnp.ones((3, 1), int)})


def test_gradients_of_another_tree_are_refused(name):
    optimizer = OPTIMIZERS[name](0.1)
    state = optimizer.init(parameters(name))
    for other in ({"bias": jnp.ones(8)}, [1.0, 2.0], jnp.ones(3), None):
        with pytest.raises(
            ValueError, match=rf"^{name}: expected gradients in the tree of the parameters; .*Take them"
        ):
            optimizer.update(other, state, parameters(name))


def test_a_state_of_another_tree_is_refused(name):
    optimizer, given = OPTIMIZERS[name](0.1), first(gradients(name))
    state = optimizer.init({f"old_{key}": value for key, value in parameters(name).items()})
    with pytest.raises(ValueError, match=rf"^{name}: expected .* of the state in the tree of the parameters; .*init"):
        optimizer.update(given, state, parameters(name))


def test_an_empty_parameter_stays_empty(name):
    empty = {"table": jnp.ones((0, 3))}
    optimizer = OPTIMIZERS[name](0.1)
    given = {"table": optim.SparseRows(jnp.zeros(0, int), jnp.ones((0, 3)))} if name == "sparse_adam" else empty
    updates, _ = optimizer.update(given, optimizer.init(empty), empty)
    assert updates["table"].shape == (0, 3)
