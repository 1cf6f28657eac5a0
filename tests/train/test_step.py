"""The compiled steps: what goes in, what comes out, how often they are compiled."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxtrain import nn, optim
from jaxtrain.train import Average, TrainState, make_eval_step, make_train_step
from jaxtrain.train.step import with_key


class Scale(nnx.Module):
    """y = w x, from w = 3."""

    def __init__(self):
        self.w = nnx.Param(jnp.float32(3.0))

    def __call__(self, x):
        return self.w[...] * x


def square(model, batch):
    return jnp.mean(model(batch) ** 2)


def run(net, state, steps):
    metrics = {}
    for _ in range(steps):
        state, metrics = net.train_step(state, net.batch)
    return state, metrics


def test_step_worked_by_hand():
    # loss = mean(w² x²) = 9 · (1 + 4) / 2; its gradient 2 w mean(x²) = 15; w = 3 - 0.1 · 15.
    state = TrainState.create(Scale(), optim.sgd(lr=0.1))
    state, metrics = make_train_step(square)(state, jnp.array([1.0, 2.0]))
    assert float(metrics["loss"].total) == 45.0
    assert int(metrics["loss"].count) == 2
    assert float(metrics["loss"].value) == 22.5
    assert float(state.params["w"]) == 1.5
    assert int(state.step) == 1


@pytest.mark.usefixtures("promotion")  # Optax adds numbers of two dtypes.
def test_updates_in_float32_are_added_to_narrow_parameters_before_they_are_rounded():
    """1 + 2⁻⁸ lies between two bfloat16 numbers, and the bit beyond it says which is nearer."""
    model = nnx.Module()
    model.w = nnx.Param(jnp.ones(1, jnp.bfloat16))
    add = optax.stateless(
        lambda gradients, params: jax.tree.map(lambda g: jnp.full(1, 2**-8 + 2**-18, jnp.float32), gradients)
    )
    state, _ = make_train_step(lambda model, batch: model.w[...].sum() * 1.0)(
        TrainState.create(model, add), np.zeros(1, np.float32)
    )
    assert state.params["w"].dtype == jnp.bfloat16
    assert float(state.params["w"][0]) == 1 + 2**-7


def test_traced_once_and_compiled_once(net):
    traces = []

    def loss_fn(model, batch):
        traces.append(1)
        return net.loss_fn(model, batch)

    step = make_train_step(loss_fn)
    state = TrainState.create(net.Net(), optim.adam())
    for _ in range(3):
        state, _ = step(state, net.batch)
    assert len(traces) == 1


def test_structure_shapes_and_dtypes_are_stable(net, state):
    def describe(tree):
        return jax.tree.structure(tree), [jax.typeof(leaf) for leaf in jax.tree.leaves(tree)]

    before = describe(state)
    assert describe(run(net, state, 1)[0]) == before


def test_whatever_changes_its_dtype_is_brought_back():
    traces = []

    def loss_fn(model, x):
        traces.append(1)
        model.seen.set_value(model.seen[...].astype(jnp.float32) + x.mean())
        return square(model, x)

    def update(gradients, count, params):
        return gradients, count.astype(jnp.float32) + 1.0

    model = Scale()
    model.seen = nnx.Variable(jnp.bfloat16(1.0))
    careless = optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)
    state = TrainState.create(model, optax.chain(careless, optim.sgd()))
    step = make_train_step(loss_fn)
    for _ in range(2):
        state, _ = step(state, jnp.ones(2))
    assert len(traces) == 1
    assert (state.model_state["seen"].dtype, float(state.model_state["seen"])) == (jnp.bfloat16, 3.0)
    assert (state.opt_state[0].dtype, int(state.opt_state[0])) == (jnp.int32, 2)


def test_running_statistics_are_carried(net, state):
    state, _ = run(net, state, 2)
    assert int(state.model_state["norm"]["num_batches_tracked"]) == 2
    assert float(jnp.abs(state.model_state["norm"]["running_mean"]).min()) > 0


def test_state_is_consumed_and_the_models_are_not(net):
    model = net.Net()
    state = TrainState.create(model, optim.adam())
    copy = state.model()
    net.train_step(state, net.batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state.params, state.model_state, state.key)))
    x = net.batch[0]
    model.eval()
    np.testing.assert_array_equal(model(x), copy(x))


def test_parts_of_the_step_have_names_in_a_profile(net):
    text = net.train_step.lower(net.state, net.batch).as_text(debug_info=True)
    assert "train_step)/loss/" in text
    assert "train_step)/optimizer/" in text


def test_no_counter_is_ready_before_the_loss(net, state):
    """XLA's CPU runtime wakes a second thread when many kernels are ready at once; all counters would be."""
    program = net.train_step.trace(state, net.batch).jaxpr.jaxpr
    arrays = [variable for variable in program.invars if variable.aval.shape]
    late = set(arrays)
    for equation in program.eqns:
        if any(variable in late for variable in equation.invars if not hasattr(variable, "val")):
            late.update(equation.outvars)
    numbers = [one for one in program.outvars if not one.aval.shape and jnp.issubdtype(one.aval.dtype, jnp.number)]
    assert len(numbers) == 5  # The state's step, three of the optimizer, one of the batch norm.
    assert all(number in late for number in numbers)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_lowers_for_accelerators(net, platform):
    exported = jax.export.export(net.train_step, platforms=[platform])(net.state, net.batch)
    assert exported.platforms == (platform,)
    assert [aval.shape for aval in exported.in_avals[: len(exported.out_avals) - 4]] == [
        aval.shape for aval in exported.out_avals[:-4]
    ]


def test_resumed_run_repeats_bit_for_bit(net, state, assert_same):
    halfway, _ = run(net, state, 3)
    saved = [
        np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)
        for leaf in jax.tree.leaves(halfway)
    ]
    through, metrics = run(net, halfway, 3)

    # What a new process does: everything from scratch, with another seed, then the saved leaves.
    fresh = TrainState.create(net.Net(seed=1), optim.adam(lr=1e-2), key=1)
    loaded = [
        jax.random.wrap_key_data(leaf) if jnp.issubdtype(like.dtype, jax.dtypes.prng_key) else jnp.asarray(leaf)
        for leaf, like in zip(saved, jax.tree.leaves(fresh), strict=True)
    ]
    resumed, resumed_metrics = run(net, jax.tree.unflatten(jax.tree.structure(fresh), loaded), 3)
    assert int(resumed.step) == 6
    assert_same(resumed, through)
    assert_same(resumed_metrics, metrics)


def test_masks_differ_by_layer_and_step_and_repeat():
    class Masks(nnx.Module):
        def __init__(self):
            self.w = nnx.Param(jnp.ones(()))
            self.drops = nnx.List([nn.Dropout(0.5, rngs=nnx.Rngs(0)) for _ in range(2)])

    def loss_fn(model, ones):
        drawn = {f"drop{i}": Average(drop(ones), 1) for i, drop in enumerate(model.drops)}
        return model.w[...] * 1.0, drawn

    step = make_train_step(loss_fn)
    start = TrainState.create(Masks(), optim.sgd(), key=3)
    ones = np.ones(64, np.float32)

    def masks(state):
        state, metrics = step(jax.tree.map(jnp.copy, state), ones)
        return state, [tuple(metrics[name].total.tolist()) for name in ("drop0", "drop1")]

    state, first = masks(start)
    _, second = masks(state)
    assert len({*first, *second}) == 4
    assert masks(start)[1] == first
    assert masks(state)[1] == second


def test_scans(net, state):
    last, metrics = jax.lax.scan(net.train_step, state, jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), net.batch))
    assert int(last.step) == 4
    assert metrics["loss"].count.tolist() == [40] * 4
    assert metrics["loss"].total[3] < metrics["loss"].total[0]


def test_optimizers_get_value_and_value_fn():
    def update(gradients, state, params, *, value, grad, value_fn):
        assert grad is gradients
        return jax.tree.map(jnp.zeros_like, gradients), {"value": value, "at two": value_fn({"w": jnp.float32(2.0)})}

    init = lambda params: {"value": jnp.zeros(()), "at two": jnp.zeros(())}  # noqa: E731
    spy = optax.chain(optax.GradientTransformationExtraArgs(init, update), optim.sgd())
    state, _ = make_train_step(square)(TrainState.create(Scale(), spy), jnp.ones(4))
    assert jax.tree.map(float, state.opt_state[0]) == {"value": 9.0, "at two": 4.0}


def test_line_search_of_optax_trains():
    state = TrainState.create(Scale(), optax.lbfgs())
    step = make_train_step(square)
    metrics = {}
    for _ in range(3):
        state, metrics = step(state, jnp.array([1.0, 2.0]))
    assert float(metrics["loss"].value) < 1e-10


def test_evaluation_is_in_evaluation_mode(net):
    before = [np.array(leaf) for leaf in jax.tree.leaves(net.state.params)]
    model = net.Net()
    model.eval()
    loss, metrics = net.loss_fn(model, net.batch)
    evaluated = net.eval_step(net.state, net.batch)
    np.testing.assert_allclose(evaluated["loss"].value, loss, rtol=1e-6)
    assert int(evaluated["accuracy"].total) == int(metrics["accuracy"].sum())
    assert int(evaluated["accuracy"].count) == 40
    after = jax.tree.leaves(net.state.params)
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))


def test_evaluation_of_a_dict_of_metrics():
    state = TrainState.create(Scale(), optim.sgd())
    step = make_eval_step(
        lambda model, x: {"mean": model(x).mean(), "each": model(x), "sum": Average(model(x).sum(), 1)}
    )
    values = {name: float(metric.value) for name, metric in step(state, jnp.array([1.0, 2.0, 6.0])).items()}
    assert values == {"each": 9.0, "mean": 9.0, "sum": 27.0}


def test_loss_may_be_an_average():
    def loss_fn(model, batch):
        x, real = batch
        return Average(jnp.sum(real.astype(x.dtype) * model(x) ** 2), real.sum())

    state = TrainState.create(Scale(), optim.sgd(lr=0.1))
    state, metrics = make_train_step(loss_fn)(state, (jnp.array([1.0, 2.0, 9.0]), jnp.array([1, 1, 0])))
    assert (float(metrics["loss"].total), int(metrics["loss"].count)) == (45.0, 2)
    assert float(state.params["w"]) == 1.5


def test_intermediate_values_are_dropped_and_new_variables_refused():
    def sow(model, x):
        model.seen = nnx.Intermediate(x)
        return square(model, x)

    def grow(model, x):
        model.extra = nnx.Variable(x)
        return square(model, x)

    state = TrainState.create(Scale(), optim.sgd())
    state, _ = make_train_step(sow)(state, jnp.ones(2))
    assert state.model_state == {}
    with pytest.raises(ValueError, match=r"changed which variables the module has, from \{\} to \{'extra': \(2,\)\}"):
        make_train_step(grow)(state, jnp.ones(2))


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda x: x, r"loss_fn must return a float scalar array, got float32\[2\]; reduce it, with reduction='mean'"),
        (lambda x: 1, r"loss_fn must return a float scalar array, got"),
        (lambda x: (x.sum(), x), "loss_fn must return a loss, or a loss and a dict of metrics"),
        (
            lambda x: (x.sum(), {"loss": x}),
            "dict of metrics, whose names are strings other than 'loss', 'skipped', ",
        ),
        (lambda x: (x.sum(), {"epoch": x}), "which a run logs itself; got metrics {'epoch'"),
        (lambda x: (x.sum(), {"skipped": x}), "which a run logs itself; got metrics {'skipped'"),
        (lambda x: (x.sum(), {"lr": x}), "which a run logs itself; got metrics {'lr'"),
        (lambda x: (x.sum(), {"val_loss": x}), "which a run logs itself; got metrics {'val_loss'"),
        (lambda x: (x.sum(), {1: x}), "names are strings other than .* got metrics {1"),
        (lambda x: None, "loss_fn must return a float scalar array, got None"),
    ],
)
def test_wrong_results_of_loss_fn(result, message):
    state = TrainState.create(Scale(), optim.sgd())
    with pytest.raises(TypeError, match=message):
        make_train_step(lambda model, x: result(model(x)))(state, jnp.ones(2))


def test_what_cannot_make_a_step_is_refused():
    for make, message in (
        (lambda: make_train_step(None), "make_train_step: loss_fn must be a function, got None"),
        (lambda: make_eval_step(5), "make_eval_step: metrics_fn must be a function, got 5"),
        (
            lambda: make_train_step(len)({}, jnp.ones(2)),
            "train step: state must be a TrainState, see",
        ),
        (lambda: make_eval_step(len)({}, jnp.ones(2)), "evaluation step: state must be a TrainState, see"),
    ):
        with pytest.raises(TypeError, match=message):
            make()


def test_scalar_metric_of_an_odd_batch():
    state = TrainState.create(Scale(), optim.sgd())
    with pytest.raises(ValueError, match=r"metric loss: .* leading sizes \[2, 3\]; return jaxtrain.train.Average"):
        make_train_step(lambda model, batch: square(model, batch[0]))(state, (jnp.ones(2), jnp.ones(3)))


def said(caplog):
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "jaxtrain"]


def test_a_smaller_last_batch_is_said_once_and_calmly(caplog):
    caplog.set_level(logging.INFO, "jaxtrain")
    step = make_train_step(square)
    state = TrainState.create(Scale(), optim.sgd(lr=0.0))
    for rows in (4, 4, 3, 4, 3):
        state, _ = step(state, jnp.ones(rows))
    assert said(caplog) == [("INFO", "train step: compiling once more, for float32[3] after float32[4]")]
    for rows in (2, 1, 5):
        state, _ = step(state, jnp.ones(rows))
    ((level, message),) = said(caplog)[1:]
    assert level == "WARNING"
    assert "a batch of float32[2] after one of float32[4]. Every new shape costs a compilation" in message
    assert "jax_explain_cache_misses" in message


def test_another_shape_is_a_warning_said_once(caplog):
    step = make_eval_step(lambda model, batch: square(model, batch))
    state = TrainState.create(Scale(), optim.sgd())
    for columns in (4, 5, 4, 6):
        step(state, jnp.ones((2, columns)))
    ((level, message),) = said(caplog)
    assert level == "WARNING"
    assert "evaluation step: compiling again, for a batch of float32[2,5] after one of float32[2,4]" in message


def test_evaluation_may_have_batches_of_four_sizes(caplog):
    step, state = make_eval_step(lambda model, batch: square(model, batch)), TrainState.create(Scale(), optim.sgd())
    caplog.set_level(logging.INFO, "jaxtrain")
    for rows in (8, 7, 6, 5):
        step(state, jnp.ones(rows))
    assert said(caplog) == [("INFO", "evaluation step: compiling once more, for float32[7] after float32[8]")]
    step(state, jnp.ones(4))
    assert [level for level, _ in said(caplog)] == ["INFO", "WARNING"]


def test_another_dtype_is_a_warning(caplog):
    step, state = make_eval_step(lambda model, batch: {"sum": batch.sum()}), TrainState.create(Scale(), optim.sgd())
    for dtype in (jnp.float32, jnp.int32):
        step(state, jnp.ones(2, dtype))
    assert [level for level, _ in said(caplog)] == ["WARNING"]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda model, batch: (model, batch), (1, 2)),
        (lambda model, batch, key: (model, batch, key), (1, 2, 3)),
        (lambda model, batch, key=None: (model, batch, key), (1, 2, 3)),
        (lambda model, batch, key, /: (model, batch, key), (1, 2, 3)),
        (lambda model, batch, weight=0.5, key=None: (model, batch, weight, key), (1, 2, 0.5, None)),
        (lambda model, batch, *, key=None: (model, batch, key), (1, 2, None)),
        (lambda *args: args, (1, 2)),
        (max, 2),  # It has no signature.
    ],
)
def test_a_third_argument_called_key_gets_the_key(function, expected):
    assert with_key(function)(1, 2, lambda: 3) == expected


def test_who_observes_sees_the_parameters_before_the_update():
    def observe(gradients, updates, params):
        return {"before": params["w"], "after": params["w"] + updates["w"]}

    step = make_train_step(square, observe=observe)
    state, metrics = step(TrainState.create(Scale(), optim.sgd(lr=0.1)), jnp.array([1.0, 2.0]))
    assert (float(metrics["before"].value), float(metrics["after"].value)) == (3.0, float(state.params["w"]))


def test_a_new_state_of_the_same_shapes_is_no_new_shape(caplog):
    caplog.set_level(logging.INFO, "jaxtrain")
    traces = []

    def loss_fn(model, batch):
        traces.append(1)
        return square(model, batch)

    step = make_train_step(loss_fn)
    for _ in range(2):
        step(TrainState.create(Scale(), optim.sgd()), jnp.ones(2))
    assert len(traces) == 2
    assert said(caplog) == []
