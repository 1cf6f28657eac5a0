"""Bad hyper-parameters, parameters and gradients of every optimizer: what was expected and what came."""

import inspect
import re
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxtrain import optim

# Numbers that an optimizer checks by itself, with their ranges.
OTHERS = {
    "adagrad": {"initial_accumulator_value": "[0, inf]"},
    "lbfgs": {"lr": "[0, inf]", "tolerance_grad": "[-inf, inf]", "tolerance_change": "[-inf, inf]"},
    "rprop": {"step_sizes[1]": "[1e-06, inf]"},
}


def ranges(name):
    """Every number that an optimizer takes, with its range."""
    table = getattr(import_module(f"jaxtrain.optim.{'adam' if name == 'adamw' else name}"), "RANGES", {})
    found = {}
    for argument, interval in table.items():
        of_elements = interval if isinstance(interval, tuple) else ()
        found |= {f"{argument}[{index}]": str(element) for index, element in enumerate(of_elements)}
        found |= {} if of_elements else {argument: str(interval)}
    return found | OTHERS.get(name, {})


CLASSES = {
    "adadelta": torch.optim.Adadelta,
    "adafactor": torch.optim.Adafactor,
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamax": torch.optim.Adamax,
    "adamw": torch.optim.AdamW,
    "asgd": torch.optim.ASGD,
    "lbfgs": torch.optim.LBFGS,
    "muon": torch.optim.Muon,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "rprop": torch.optim.Rprop,
    "sgd": torch.optim.SGD,
    "sparse_adam": torch.optim.SparseAdam,
}
RANGES = {name: ranges(name) for name in CLASSES}
NUMBERS = [(name, argument, interval) for name, table in RANGES.items() for argument, interval in table.items()]
each_number = pytest.mark.parametrize(("name", "argument", "interval"), NUMBERS)

# Bounds of ours that PyTorch does not check, in an argument that it does not look at.
UNCHECKED_BY_TORCH = {("muon", "eps"), ("rprop", "step_sizes[1]")}


def arguments(name, argument, value):
    """The keyword arguments that give this value to an argument or, as in `betas[0]`, to an element of one."""
    argument, *index = re.findall(r"\w+", argument)
    if not index:
        return {argument: value}
    default = list(inspect.signature(getattr(optim, name)).parameters[argument].default)
    default[int(index[0])] = value
    return {argument: tuple(default)}


def around(interval):
    """The numbers next to the finite ends of an interval: those outside of it, and those inside."""
    low, high = map(float, interval[1:-1].split(", "))
    outside, inside = [], []
    for end, is_open, away in ((low, interval[0] == "(", -np.inf), (high, interval[-1] == ")", np.inf)):
        if np.isfinite(end):
            outside += [float(np.nextafter(end, away))] + [end] * is_open
            inside += [float(np.nextafter(end, -away))] + [end] * (not is_open)
    return outside, inside


def said(name, argument, rest):
    return re.escape(f"{name}: {argument} {rest}")


@each_number
def test_out_of_range(name, argument, interval):
    outside, inside = around(interval)
    for value in [*outside, float("nan")]:
        with pytest.raises(ValueError, match=said(name, argument, f"must lie in {interval}, got {value!r}")):
            getattr(optim, name)(**arguments(name, argument, value))
    for value in inside:
        getattr(optim, name)(**arguments(name, argument, value))


@each_number
def test_torch_refuses_what_is_out_of_range_too(name, argument, interval):
    for value in [] if (name, argument) in UNCHECKED_BY_TORCH else around(interval)[0]:
        with pytest.raises(ValueError, match=r"[Ii]nvalid|should be|Clipping threshold"):
            CLASSES[name]([torch.ones((2, 2), requires_grad=True)], **arguments(name, argument, value))


NO_NUMBERS = ["0.5", b"0.5", None, 0.5j, np.array(0.5j), {}]


@each_number
def test_what_is_no_number(name, argument, interval):
    optional = (name, argument) == ("adafactor", "eps[0]")
    for value in [value for value in NO_NUMBERS if not (optional and value is None)]:
        message = said(name, argument, f"must be a number, an array or a schedule, got {value!r}")
        with pytest.raises(TypeError, match=message):
            getattr(optim, name)(**arguments(name, argument, value))


@each_number
def test_more_than_one_number(name, argument, interval):
    if argument == "initial_accumulator_value":
        return  # may be an array
    value = around(interval)[1][:1] * 2 or [0.5, 0.5]
    message = said(name, argument, r"must be one number, got an array of shape (2,)")
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)(**arguments(name, argument, value))
    with pytest.raises(ValueError, match=message):
        jax.jit(lambda traced: getattr(optim, name)(**arguments(name, argument, traced)) and 0)(jnp.array(value))


@each_number
def test_traced_numbers_and_schedules_pass(name, argument, interval):
    jax.eval_shape(lambda traced: getattr(optim, name)(**arguments(name, argument, traced)) and 0, -0.5)
    if argument != "initial_accumulator_value":
        getattr(optim, name)(**arguments(name, argument, lambda count: -0.5))


TUPLES = [
    *((name, "betas", 2) for name in ("adam", "adamax", "adamw", "nadam", "radam", "sparse_adam")),
    ("adafactor", "eps", 2),
    ("muon", "ns_coefficients", 3),
    ("rprop", "etas", 2),
    ("rprop", "step_sizes", 2),
]


@pytest.mark.parametrize(("name", "argument", "length"), TUPLES)
def test_what_is_no_tuple_of_that_length(name, argument, length):
    expected = f"must be a tuple of {length} numbers, got"
    for value in (0.9, None, "ab"):
        with pytest.raises(TypeError, match=said(name, argument, f"{expected} {value!r}")):
            getattr(optim, name)(**{argument: value})
    for value in ((), (0.9,), (0.9,) * 4):
        with pytest.raises(ValueError, match=said(name, argument, f"{expected} {len(value)}: {value!r}")):
            getattr(optim, name)(**{argument: value})


NESTEROV = "sgd: nesterov needs a momentum above 0 and a dampening of 0, got "
CHOICES = [
    ("sgd", {"nesterov": True}, ValueError, NESTEROV + "momentum=0.0 and dampening=0.0"),
    (
        "sgd",
        {"nesterov": True, "momentum": 0.9, "dampening": 0.5},
        ValueError,
        NESTEROV + "momentum=0.9 and dampening=0.5",
    ),
    ("muon", {"adjust_lr_fn": "arbitrary"}, ValueError, "muon: adjust_lr_fn must be one of None, 'original', 'match_"),
    ("muon", {"ns_steps": 100}, ValueError, "muon: ns_steps must be from 0 to 99, got 100"),
    ("muon", {"ns_steps": 2.5}, TypeError, "muon: ns_steps must be an integer, got 2.5"),
    ("muon", {"axis": 2}, ValueError, "muon: axis must be one of -1, 0, 1, -2, got 2"),
    ("muon", {"dtype": "int32"}, ValueError, "muon: dtype must be a floating point dtype, got 'int32'"),
    ("lbfgs", {"max_iter": 0}, ValueError, "lbfgs: max_iter must be at least 1, got 0"),
    ("lbfgs", {"max_iter": 20.0}, TypeError, "lbfgs: max_iter must be an integer, got 20.0"),
    ("lbfgs", {"max_eval": 0}, ValueError, "lbfgs: max_eval must be at least 1, got 0"),
    ("lbfgs", {"history_size": True}, TypeError, "lbfgs: history_size must be an integer, got True"),
    ("lbfgs", {"line_search_fn": "armijo"}, ValueError, "lbfgs: line_search_fn must be one of None, 'strong_wolfe', "),
]


@pytest.mark.parametrize(("name", "options", "error", "message"), CHOICES, ids=lambda value: str(value)[:40])
def test_choices_and_whole_numbers(name, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        getattr(optim, name)(**options)


def test_whole_numbers_are_known_when_the_program_is_traced():
    with pytest.raises(
        TypeError, match=r"muon: ns_steps must be an integer that is known .* in static_argnames of jax"
    ):
        jax.eval_shape(lambda steps: optim.muon(ns_steps=steps) and 0, 5)


each_optimizer = pytest.mark.parametrize("name", CLASSES)


@each_optimizer
@pytest.mark.parametrize("dtype", [jnp.complex64, jnp.int32])
def test_parameters_that_are_no_floats(name, dtype):
    parameters = {"table": jnp.ones((2, 3), dtype)}
    with pytest.raises(TypeError, match=rf"floating point parameters, got {dtype.__name__} at \['table'\]"):
        getattr(optim, name)().init(parameters)


@each_optimizer
@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (jnp.ones(3), ValueError, r"a gradient of shape (2, 3), its parameter's, got (3,) at ['b']"),
        (jnp.ones((2, 3), int), TypeError, "expected floating point gradients, got int32 at ['b']"),
        (jnp.ones((2, 3), complex), TypeError, "got complex64 at ['b']"),
        (1.0, TypeError, "got float at ['b']; where a parameter has no gradient, put None"),
    ],
    ids=["shape", "integers", "complex", "float"],
)
def test_gradients_that_do_not_fit(name, gradient, error, message):
    optimizer, parameters = getattr(optim, name)(), {"b": jnp.ones((2, 3)), "c": jnp.ones((2, 3))}
    good = jnp.ones((2, 3))
    if name == "sparse_adam":
        if error is ValueError:
            message = "values of shape (n, ...) with the rows of a parameter of shape (2, 3), got (1,) and (3,)"
        good, gradient = (
            rows if isinstance(rows, float) else optim.SparseRows(jnp.zeros(1, int), rows)
            for rows in (good[:1], gradient)
        )
    extra = {"value_fn": lambda p: p["b"].sum()} if name == "lbfgs" else {}
    with pytest.raises(error, match=re.escape(message)):
        optimizer.update({"b": gradient, "c": good}, optimizer.init(parameters), parameters, **extra)


def test_the_buffers_know_the_shape_of_parameters_that_are_not_handed_over():
    optimizer = optim.adam()
    with pytest.raises(ValueError, match=r"a gradient of shape \(2, 3\), its parameter's, got \(3,\) at the root"):
        optimizer.update(jnp.ones(3), optimizer.init(jnp.ones((2, 3))))


@pytest.mark.parametrize("name", ["adafactor", "asgd", "sparse_adam", "muon", "adamw"])
def test_missing_parameters_say_what_to_do(name):
    optimizer = getattr(optim, name)()
    why = " for its weight_decay, which may be above 0" if name in ("muon", "adamw") else ""
    needs = rf"{name} needs the parameters{why}: call update\(gradients, state, params\)"
    with pytest.raises(ValueError, match=needs):
        optimizer.update(jnp.ones((2, 2)), optimizer.init(jnp.ones((2, 2))))


def test_missing_gradients_without_parameters_say_what_to_do():
    optimizer = optim.sgd(momentum=0.9)
    state = optimizer.init({"a": jnp.ones(2), "b": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"got 1 gradients for 2 parameters; where a parameter has no gradient"):
        optimizer.update({"a": jnp.ones(2), "b": None}, state)


def test_muon_takes_matrices_only():
    with pytest.raises(ValueError, match=r"muon: parameters must be matrices, got shape \(2, 3, 4\) at \['kernel'\]"):
        optim.muon().init({"kernel": jnp.ones((2, 3, 4))})


def test_sparse_adam_takes_rows_only():
    optimizer, table = optim.sparse_adam(), jnp.ones((2, 3))
    with pytest.raises(TypeError, match="sparse_adam: expected a gradient of SparseRows, got "):
        optimizer.update(table, optimizer.init(table), table)


def loss(parameters):
    return (parameters["a"] ** 2).sum() + (parameters["b"] ** 2).sum()


def test_lbfgs_takes_all_parameters_with_their_gradients_and_the_loss():
    optimizer, parameters = optim.lbfgs(), {"a": jnp.ones(2), "b": jnp.ones(3)}
    state, gradients = optimizer.init(parameters), jax.grad(loss)(parameters)
    for arguments in ((None,), (parameters,)):
        with pytest.raises(
            ValueError, match=r"lbfgs evaluates the loss several times: call update\(gradients, state, "
        ):
            optimizer.update(gradients, state, *arguments)
    with pytest.raises(ValueError, match="lbfgs: expected a gradient for every parameter, got None"):
        optimizer.update({**gradients, "b": None}, state, parameters, value_fn=loss)
    with pytest.raises(ValueError, match=r"lbfgs: expected all parameters of the loss, but .* param_groups hides some"):
        optim.param_groups(optim.lbfgs, {"a": {"lr": 0.1}, None: {}}).init(parameters)


def test_a_parameter_in_two_groups():
    groups = optim.param_groups(optim.sgd, {"kernel": {"lr": 0.1}, "^body": {}})
    with pytest.raises(ValueError, match=r"each parameter must be matched by exactly one rule\n +body/kernel: by "):
        groups.init({"body": {"kernel": jnp.ones(2)}})


@pytest.mark.parametrize("clip", [optim.clip_grad_norm, optim.clip_grad_value])
def test_negative_limits(clip):
    with pytest.raises(ValueError, match=r"must lie in \[0, inf\], got -1.0"):
        clip(-1.0)


def test_a_nan_gradient_reaches_every_clipped_gradient():
    gradients = {"a": jnp.array([jnp.nan]), "b": jnp.array([1.0])}
    clipped: Any = optim.clip_grad_norm(1.0).update(gradients, ())[0]
    assert np.isnan(clipped["b"]).all()
