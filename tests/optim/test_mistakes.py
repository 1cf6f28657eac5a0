"""PyTorch's habits and other mistakes: the error names them and says what to do."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from jaxtrain import optim

OPTIMIZERS = sorted(
    name
    for name, value in vars(optim).items()
    if inspect.isfunction(value) and "lr" in inspect.signature(value).parameters
)
each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)

LAYER = torch.nn.Linear(2, 2)
HABITS = {
    "module": nnx.Linear(2, 3, rngs=nnx.Rngs(0)),
    "state": nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Param),
    "dict": {"kernel": jnp.ones((2, 2))},
    "list": [jnp.ones(2), jnp.ones(3)],
    "groups": [{"params": LAYER.parameters(), "lr": 0.1}],
    "torch module": LAYER,
    "torch parameters": LAYER.parameters(),
}


@each_optimizer
@pytest.mark.parametrize("habit", HABITS)
def test_parameters_in_place_of_the_learning_rate(name, habit):
    with pytest.raises(TypeError, match=rf"{name}: lr must be .*parameters come later: optimizer = optim.{name}\("):
        getattr(optim, name)(HABITS[habit])


def test_a_partial_of_arrays_is_a_schedule():
    rates = jax.tree_util.Partial(lambda table, count: table[count.astype(int)], jnp.array([0.5, 0.25]))
    assert optim.sgd(rates).init(jnp.ones(2)).lr == 0.5


FLAGS = [
    *((name, "maximize") for name in OPTIMIZERS if name not in ("lbfgs", "muon")),
    ("sgd", "nesterov"),
    ("muon", "nesterov"),
    ("adam", "amsgrad"),
    ("adamw", "amsgrad"),
    ("adam", "decoupled_weight_decay"),
    ("nadam", "decoupled_weight_decay"),
    ("radam", "decoupled_weight_decay"),
    ("rmsprop", "centered"),
    ("averaged_model", "use_buffers"),
]


@pytest.mark.parametrize(("name", "flag"), FLAGS)
def test_flags_are_true_or_false(name, flag):
    for value in ("False", 0, None):
        with pytest.raises(TypeError, match=f"{name}: {flag} must be True or False, got {value!r}"):
            getattr(optim, name)(**{flag: value})
    getattr(optim, name)(**{flag: np.False_})


@each_optimizer
@pytest.mark.parametrize("returned", [None, "0.1", [0.1, 0.05], 0.1j, jnp.ones(1), jnp.ones((2, 2))], ids=repr)
def test_schedules_that_do_not_return_a_number(name, returned):
    with pytest.raises((TypeError, ValueError), match=f"{name}: lr must be one number, but its schedule returned"):
        getattr(optim, name)(lambda count: returned).init({"a": jnp.ones((2, 2))})


@each_optimizer
def test_python_numbers_are_not_parameters(name):
    if name == "muon":
        pytest.skip("refuses them as no matrices")
    with pytest.raises(TypeError, match=rf"{name}: expected arrays as parameters, got float at \[0\]; convert"):
        getattr(optim, name)().init((1.0, 2.0))


@each_optimizer
def test_complex_parameters_have_a_way_out(name):
    with pytest.raises(TypeError, match=r"got complex64 at \['a'\]; optax.contrib.split_real_and_imaginary"):
        getattr(optim, name)().init({"a": jnp.ones((2, 2), complex)})


@each_optimizer
def test_a_state_of_other_shapes(name):
    if name in ("adafactor", "adagrad", "lbfgs", "sgd", "sparse_adam"):
        pytest.skip("has buffers of its own shapes, or none")
    params = jnp.ones((2, 3))
    optimizer = getattr(optim, name)()
    with pytest.raises(ValueError, match=rf"{name}: expected a state for parameters of these shapes, got \w+ of shape"):
        optimizer.update(params, optimizer.init(jnp.ones((2, 1))), params)


GROUPS = [
    ([{"params": "head", "lr": 0.1}], "expected groups by regular expression, such as .* got list; PyTorch's list"),
    (None, "got NoneType"),
    ({"head": None}, "expected the arguments of group 'head' by name, got None; {} for the defaults"),
    ({"head": 0.1}, "got 0.1"),
    ({3: {}}, "expected regular expressions, got 3"),
]


@pytest.mark.parametrize(("groups", "message"), GROUPS, ids=lambda value: str(value)[:20])
def test_groups_of_the_wrong_kind(groups, message):
    with pytest.raises(TypeError, match=f"param_groups: .*{message}"):
        optim.param_groups(optim.sgd, groups)


def test_other_mistakes_with_groups():
    with pytest.raises(ValueError, match=r"param_groups: expected regular expressions, got '\('"):
        optim.param_groups(optim.sgd, {"(": {}})
    with pytest.raises(
        TypeError, match=r"param_groups: expected an optimizer that is not called yet, such as optim\.sgd"
    ):
        optim.param_groups(optim.sgd(0.1), {None: {}})  # pyright: ignore[reportArgumentType] the mistake


def test_injected_hyperparameters_without_parameters():
    optimizer = optax.inject_hyperparams(optim.sgd)(lr=0.1)
    with pytest.raises(ValueError, match="sgd needs the parameters for its weight_decay, which may be above 0"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))


LIMITS = [
    ("clip_grad_norm", "max_norm"),
    ("clip_grad_norm", "norm_type"),
    ("clip_grad_value", "clip_value"),
    ("get_ema_avg_fn", "decay"),
]


@pytest.mark.parametrize(("name", "argument"), LIMITS)
def test_one_plain_number(name, argument):
    given = {"max_norm": 1.0} if name == "clip_grad_norm" else {}
    said = f"{name}: {argument} must be"
    for value in (lambda count: 1.0, "1.0", None):
        with pytest.raises(TypeError, match=f"{said} a number"):
            getattr(optim, name)(**given | {argument: value})
    with pytest.raises(ValueError, match=rf"{said} one number, got an array of shape \(3, 1\)"):
        getattr(optim, name)(**given | {argument: jnp.ones((3, 1))})
    with pytest.raises(ValueError, match=f"{said[:-8]} must lie in"):
        getattr(optim, name)(**given | {argument: float("nan")})


@pytest.mark.parametrize("clip", [optim.clip_grad_norm(1.0), optim.clip_grad_value(1.0)], ids=["norm", "value"])
@pytest.mark.parametrize("gradient", [jnp.array([7, 8]), jnp.array([1j]), 7.0, jnp.array([True])], ids=repr)
def test_clipping_of_what_is_not_floating(clip, gradient):
    with pytest.raises(TypeError, match=r"clip_grad_\w+: expected floating point gradients, got \w+ at \['a'\]"):
        clip.update({"a": gradient}, ())


ROWS = [
    (jnp.array([1.0, 2.0]), jnp.ones((2, 3)), TypeError, "expected integers as the indices of rows, got float32"),
    (jnp.array([True, False]), jnp.ones((2, 3)), TypeError, "expected integers as the indices of rows, got bool"),
    (jnp.array([[1, 2]]), jnp.ones((2, 3)), ValueError, "got (1, 2) and (2, 3)"),
]


@pytest.mark.parametrize(("indices", "values", "error", "message"), ROWS)
def test_indices_of_rows(indices, values, error, message):
    optimizer, table = optim.sparse_adam(), jnp.ones((4, 3))
    with pytest.raises(error, match=re.escape(message)):
        optimizer.update(optim.SparseRows(indices, values), optimizer.init(table), table)


def test_a_dense_gradient_is_named_as_what_it_is():
    optimizer, table = optim.sparse_adam(), {"table": jnp.ones((4, 3))}
    with pytest.raises(TypeError, match=r"expected a gradient of SparseRows, got a dense one at \['table'\]"):
        jax.jit(optimizer.update)(table, optimizer.init(table), table)


def test_mistakes_with_lbfgs():
    optimizer, params = optim.lbfgs(), jnp.ones(2)
    state = optimizer.init(params)
    with pytest.raises(ValueError, match="lbfgs: expected parameters to train, got an empty tree"):
        optimizer.update({}, optimizer.init({}), {}, value_fn=lambda p: 0.0)
    with pytest.raises(ValueError, match=r"the loss, but value is float32 of shape \(1,\); reduce it by jnp.mean"):
        optimizer.update(params, state, params, value_fn=jnp.sum, value=jnp.ones(1))
    with pytest.raises(ValueError, match=r"the loss, but value_fn returns float32 of shape \(2,\)"):
        optimizer.update(params, state, params, value_fn=lambda p: p)
    with pytest.raises(ValueError, match="the loss, but value_fn returns tuple"):
        optimizer.update(params, state, params, value_fn=lambda p: (p.sum(), p))
    with pytest.raises(TypeError, match="lbfgs: expected the LBFGSState that its init returns, got AdamState"):
        optimizer.update(params, optim.adam().init(params), params, value_fn=jnp.sum)
    for other in (optim.lbfgs(history_size=7).init(params), optimizer.init(jnp.ones(3))):
        with pytest.raises(ValueError, match="expected a state for 2 numbers and history_size=100, got one for"):
            optimizer.update(params, other, params, value_fn=jnp.sum)


def test_mistakes_with_averages():
    average = optim.averaged_model()
    with pytest.raises(TypeError, match=r"avg_fn must be a function, got 0.9; optim.get_ema_avg_fn\(decay\)"):
        optim.averaged_model(0.9)  # pyright: ignore[reportArgumentType] the mistake
    with pytest.raises(TypeError, match=r"got get_ema_avg_fn, which makes one; call it: optim.get_ema_avg_fn\(\)"):
        optim.averaged_model(optim.get_ema_avg_fn)
    with pytest.raises(TypeError, match="expected the AveragedModelState that its init returns, got tuple"):
        average.update_parameters((), jnp.ones(2))
    with pytest.raises(ValueError, match=r"expected an array of shape \(3,\), as init was given, got \(1,\)"):
        average.update_parameters(average.init(jnp.ones(3)), jnp.ones(1))
    with pytest.raises(ValueError, match=r"expected the buffers that init was given, None, got \{'mean'"):
        average.update_parameters(average.init(jnp.ones(3)), jnp.ones(3), {"mean": jnp.ones(2)})
