"""A run over eight devices is the run of one, and every leaf lies where it shall."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxtrain import interop, losses, nn, optim
from jaxtrain.train import (
    AveragedEvery,
    Checkpoints,
    GradScaler,
    Placement,
    Precision,
    TrainState,
    fit,
    make_train_step,
)
from jaxtrain.train import placement as placement_module
from parity.compile.communication import traffic

P = PartitionSpec
MESH = {"data": 2, "model": 4}
TENSOR_RULES = {"hidden/kernel": P(None, "model"), "hidden/bias": P("model"), "out/kernel": P("model")}


class Net(nnx.Module):
    """Batch norm, whose statistics are those of the whole batch, and dropout, whose mask is."""

    def __init__(self, dropout=0.5):
        rngs = nnx.Rngs(0)
        self.hidden = nn.Linear(4, 16, param_dtype=jnp.float64, rngs=rngs)
        self.norm = nn.BatchNorm(16, param_dtype=jnp.float64)
        self.drop = nn.Dropout(dropout, rngs=rngs)
        self.out = nn.Linear(16, 4, param_dtype=jnp.float64, rngs=rngs)

    def __call__(self, x):
        return self.out(self.drop(jax.nn.relu(self.norm(self.hidden(x)))))


def loss_fn(model, batch):
    x, y = batch
    logits = model(x)
    return losses.cross_entropy(logits, y), {"accuracy": logits.argmax(-1).astype(y.dtype) == y}


x = np.random.default_rng(0).normal(size=(36, 4))
DATA = x, x.argmax(1).astype(np.int32)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def new():
    return TrainState.create(Net(), optim.sgd(0.1, momentum=0.9), key=1)


def values(state):
    return jax.device_get((state.params, state.model_state, state.opt_state))


def assert_close(found, expected):
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14), found, expected)


def run(placement, **options):
    settings = {"epochs": 2, "batch_size": 16, "validation": DATA, "progress": False}
    return fit(new(), loss_fn, DATA, placement=placement, **settings | options)


@pytest.fixture(scope="module")
def alone():
    """The same run on one device."""
    with jax.enable_x64(True):
        state, history = run(None)
        return values(state), history


def test_a_scanned_data_parallel_run_is_the_run_of_one_device(alone, caplog):
    caplog.set_level("INFO", "jaxtrain")
    placement = Placement()
    state, history = run(placement)
    # Two batches of 16 that divide by 8, and one of 4 that does not.
    assert "fit: up to 3 steps in a program" in caplog.text
    assert_close(values(state), alone[0])
    np.testing.assert_allclose(history["val_loss"], alone[1]["val_loss"], rtol=1e-12)
    assert state.params["out"]["kernel"].sharding.is_fully_replicated


@pytest.fixture(scope="module")
def one_device_step():
    return make_train_step(loss_fn)


@pytest.mark.parametrize(
    "placement",
    [
        Placement(fully_sharded="data", min_size=1),
        Placement({"data": 2, "model": 4}, rules=TENSOR_RULES),
        Placement({"data": 2, "model": 4}, rules=TENSOR_RULES, fully_sharded="data", min_size=1),
        Placement({"data": 2, "copies": 4}, data=("data", "copies"), fully_sharded="copies", min_size=1),
        Placement(jax.make_mesh((8,), ("data",))),
    ],
    ids=["fully sharded", "tensor parallel", "both", "copies of shards", "explicit axes"],
)
def test_a_step_over_eight_devices_is_the_step_of_one(placement, one_device_step):
    batches = [jax.tree.map(lambda leaf, i=i: leaf[16 * i : 16 * i + 16], DATA) for i in range(2)]
    state, alone = placement.put(new()), new()
    step: Any = make_train_step(loss_fn, placement=placement)
    where = jax.tree.map(lambda leaf: leaf.sharding, state)
    for batch in batches:
        state, metrics = step(state, placement.put_batch(batch))
        alone, expected = one_device_step(alone, batch)
        np.testing.assert_allclose(float(metrics["loss"]), float(expected["loss"]), rtol=1e-12)
    assert_close(values(state), values(alone))
    assert jax.tree.map(lambda leaf: leaf.sharding, state) == where
    assert step._cache_size() == 1


def test_the_parts_of_a_batch_are_spread_too():
    state, batch = new(), jax.tree.map(lambda leaf: leaf[:32], DATA)
    expected, _ = make_train_step(loss_fn, accumulate=2)(new(), batch)
    placement = Placement()
    step: Any = make_train_step(loss_fn, accumulate=2, placement=placement)
    compiled = step.lower(placement.put(state), placement.put_batch(batch)).compile()
    # The gradients are summed over the devices; whole parts on each would need no sum.
    sent = traffic(compiled.as_text())["all-reduce"].bytes
    assert sent >= sum(leaf.nbytes for leaf in jax.tree.leaves(state.params))
    found, _ = compiled(placement.put(state), placement.put_batch(batch))
    assert_close(values(found), values(expected))


def test_the_batch_norm_of_eight_devices_is_that_of_torch_on_the_whole_batch():
    module = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, 4)).double()
    rngs = nnx.Rngs(0)
    first, second = (nn.Linear(*sizes, param_dtype=jnp.float64, rngs=rngs) for sizes in ((4, 16), (16, 4)))
    model = nnx.Sequential(first, nn.BatchNorm(16, param_dtype=jnp.float64), second)
    interop.load_state_dict(model, module.state_dict())
    placement = Placement()
    state = placement.put(TrainState.create(model, optim.sgd(0.1)))
    step = make_train_step(lambda model, batch: losses.cross_entropy(model(batch[0]), batch[1]), placement=placement)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for rows in (slice(0, 16), slice(16, 32)):
        batch = jax.tree.map(lambda leaf, rows=rows: leaf[rows], DATA)
        state, _ = step(state, placement.put_batch(batch))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(torch.tensor(batch[0])), torch.tensor(batch[1]).long()).backward()
        optimizer.step()
    found = interop.state_dict(state.model())
    for name, value in module.state_dict().items():
        np.testing.assert_allclose(found[name], value.numpy(), rtol=1e-12, atol=1e-14, err_msg=name)


def specs(placement, optimizer, **options):
    state = jax.eval_shape(lambda: TrainState.create(Net(), optimizer, **options))
    where = placement.shardings(state)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.spec
        for path, leaf in jax.tree.leaves_with_path((where.params, where.opt_state))
    }


@pytest.mark.parametrize(
    "optimizer",
    [
        optim.adamw(),
        optax.adam(1e-3),
        optax.chain(optim.clip_grad_norm(1.0), optim.sgd(0.1, momentum=0.9)),
        optim.param_groups(optim.adam, {"^out/": {"lr": 0.1}, None: {}}),
        optax.inject_hyperparams(optim.adamw)(lr=0.1),
        optim.adafactor(),
        optax.lbfgs(),
    ],
    ids=["adamw", "optax", "chain", "groups", "injected", "adafactor", "lbfgs"],
)
def test_moments_lie_like_their_parameters(optimizer):
    placement = Placement({"data": 2, "model": 4}, rules=TENSOR_RULES)
    state = jax.eval_shape(lambda: TrainState.create(Net(), optimizer))
    where = placement.shardings(state)
    moments = [
        (leaf.shape, sharding.spec)
        for (path, leaf), sharding in zip(
            jax.tree.leaves_with_path(state.opt_state), jax.tree.leaves(where.opt_state), strict=True
        )
        if "kernel" in str(path) and "hidden" in str(path)
    ]
    assert moments
    for shape, spec in moments:
        if shape[-2:] == (4, 16):
            assert spec == P(*[None] * (len(shape) - 1), "model"), (shape, spec)
        else:
            assert spec == P(), (shape, spec)
    others = [leaf.spec for leaf in jax.tree.leaves(where.opt_state) if leaf.spec not in (P(), P("model"))]
    assert where.step.spec == where.key.spec == P()
    assert all("data" not in str(spec) for spec in others)


def test_averages_lie_like_their_variables_and_a_scaled_loss_is_the_one_of_one_device():
    def new():
        average = AveragedEvery(optim.averaged_model(use_buffers=True), every=1)
        precision = Precision("float64", scaler=GradScaler(init_scale=4.0, growth_interval=1))
        return TrainState.create(Net(), optim.sgd(0.1), key=1, average=average, precision=precision)

    placement = Placement(MESH, rules=TENSOR_RULES)
    state, alone = placement.put(new()), new()
    assert state.average.module["hidden"]["kernel"].sharding.spec == P(None, "model")
    assert state.average.buffers["norm"]["running_mean"].sharding.is_fully_replicated
    batch = jax.tree.map(lambda leaf: leaf[:16], DATA)
    state, _ = make_train_step(loss_fn, placement=placement)(state, placement.put_batch(batch))
    alone, _ = make_train_step(loss_fn)(alone, batch)
    # The network's output is rounded to float32.
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7),
        *jax.device_get((state.average, alone.average)),
    )
    assert float(state.scaler.scale) == 8.0
    assert state.average.module["hidden"]["kernel"].sharding.spec == P(None, "model")


def test_which_dimension_is_split():
    sharded = Placement({"data": 2, "model": 4}, fully_sharded="data", rules=TENSOR_RULES, min_size=64)
    found = specs(sharded, optim.sgd())
    # The kernels have 64 elements, the biases fewer; out/kernel is (16, 4) and hidden/kernel (4, 16).
    assert found["0/out/kernel"] == P("model", "data")
    assert found["0/hidden/kernel"] == P("data", "model")
    assert found["0/hidden/bias"] == P("model")
    assert found["0/out/bias"] == P()
    assert Placement().min_size == 65_536
    longest = specs(Placement({"data": 2, "model": 4}, fully_sharded="data", min_size=64), optim.sgd())
    assert longest["0/out/kernel"] == P("data")
    assert longest["0/hidden/kernel"] == P(None, "data")
    # What a rule takes of the axes is left out.
    both = Placement({"data": 2, "model": 4}, rules=TENSOR_RULES, fully_sharded=("data", "model"), min_size=64)
    assert specs(both, optim.sgd())["0/out/kernel"] == P("model", "data")
    assert specs(both, optim.sgd(momentum=0.9))["0/hidden/kernel"] == P("data", "model")
    first = Placement({"data": 2, "model": 4}, rules={"hidden": P(), "kernel": P("model")})
    assert specs(first, optim.sgd())["0/hidden/kernel"] == P()
    assert specs(first, optim.sgd())["0/out/kernel"] == P("model")


def test_frozen_parameters_follow_the_rules_too():
    placement = Placement({"data": 2, "model": 4}, rules=TENSOR_RULES)
    state = placement.put(TrainState.create(Net(), optim.sgd(), trainable="^out/"))
    assert state.model_state["hidden"]["kernel"].sharding.spec == P(None, "model")


@pytest.mark.usefixtures("promotion")
def test_annotated_variables_are_split_and_made_where_they_lie():
    def new(seed=0):
        init = nnx.with_partitioning(nnx.initializers.lecun_normal(), (None, "model"))
        return TrainState.create(nn.Linear(8, 16, kernel_init=init, rngs=nnx.Rngs(seed)), optim.adam())

    placement = Placement({"data": 2, "model": 4})
    state = placement.create(new)
    assert state.params["kernel"].sharding.spec == state.opt_state.exp_avg["kernel"].sharding.spec == P(None, "model")
    with jax.set_mesh(placement.mesh):
        alone = new()
    np.testing.assert_array_equal(state.params["kernel"], alone.params["kernel"])
    state, _ = make_train_step(lambda model, x: model(x).mean(), placement=placement)(state, jnp.ones((4, 8)))
    assert state.params["kernel"].sharding.spec == P(None, "model")
    other = Placement({"data": 2, "model": 4}, rules={"kernel": P("model")})
    assert other.shardings(state).params["kernel"].spec == P("model")


@pytest.mark.usefixtures("promotion")
def test_a_model_may_name_axes_of_the_mesh():
    def loss_fn(model, x):
        return jax.lax.with_sharding_constraint(model(x), P("data", "model")).mean()

    placement = Placement({"data": 2, "model": 4})
    state = TrainState.create(nn.Linear(8, 16, rngs=nnx.Rngs(0)), optim.sgd(0.1))
    step: Any = make_train_step(loss_fn, placement=placement)
    assert '[{"data"}, {"model"}]' in step.lower(state, jnp.ones((4, 8))).as_text()


def test_a_run_of_eight_devices_resumes_on_two_and_on_one(tmp_path, alone):
    pytest.importorskip("orbax.checkpoint")
    eight = Placement(fully_sharded="data", min_size=1)
    run(eight, epochs=1, validation=None, listeners=[Checkpoints(tmp_path)])
    devices = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2], axis_types=(AxisType.Auto,))
    two, history = run(
        Placement(devices, fully_sharded="data", min_size=1), validation=None, listeners=[Checkpoints(tmp_path)]
    )
    assert two.params["hidden"]["kernel"].sharding.num_devices == 2
    assert_close(values(two), alone[0])
    np.testing.assert_allclose(history["loss"], alone[1]["loss"], rtol=1e-12)
    one, history = run(None, validation=None, listeners=[Checkpoints(tmp_path)])
    assert history["epoch"] == [0, 1]
    assert {leaf.sharding.num_devices for leaf in jax.tree.leaves(one)} == {1}
    assert_close(values(one), alone[0])


@pytest.mark.parametrize("make", [np.asarray, jnp.asarray, lambda numbers: jax.random.split(jax.random.key(0), 8)])
def test_each_of_several_processes_cuts_its_part_out_of_what_all_have(make, monkeypatch):
    """JAX places no array of one process over the devices of others by itself."""
    whole = make(np.arange(8.0))
    sharding = NamedSharding(jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,)), P("data"))
    with monkeypatch.context() as several:
        several.setattr(jax, "process_count", lambda: 2)
        several.setattr(jax, "device_put", lambda *_: pytest.fail("placed as in one process"))
        placed = placement_module._global(whole, sharding)
    assert placed.sharding == sharding
    assert bool((placed == jnp.asarray(whole)).all())
