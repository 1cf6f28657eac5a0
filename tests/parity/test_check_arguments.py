"""Bad input to `check_*`: refused before anything is compared, with the way out."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

import parity
from jaxtrain import nn, schedules
from parity.subjects.optimizer import Leaf

lrs = torch.optim.lr_scheduler
ROWS = np.array([[1.0, -2.0, 0.5]])
LEAF = Leaf(np.ones(2), np.ones((3, 2)))


def linear(rngs):
    return nn.Linear(3, 2, rngs=rngs)


def torch_linear():
    return torch.nn.Linear(3, 2)


def sgd(parameters):
    return torch.optim.SGD(parameters, 0.1)


def squares(x, y):
    return ((x - y) ** 2).sum()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((linear(nnx.Rngs(0)), torch_linear, ROWS), TypeError, "ours to be a function, got Linear of jaxtrain"),
        ((linear, torch_linear(), ROWS), TypeError, "reference to be a function, got Linear of torch"),
        ((lambda rngs: None, torch_linear, ROWS), TypeError, "ours to make an NNX module, got NoneType"),
        ((linear, lambda: nnx.Dropout(0.1), ROWS), TypeError, "reference to make a PyTorch module, got Dropout"),
        ((linear, torch_linear), TypeError, "an array for at least one training step, got none"),
        ((linear, torch_linear, np.array(["a"])), TypeError, "inputs of numbers, got <U1"),
        ((linear, torch_linear, ROWS * np.nan), ValueError, "inputs of numbers, got NaN"),
    ],
)
def test_layers(arguments, error, message):
    with pytest.raises(error, match=f"^check_layer: expected {message}"):
        parity.check_layer(*arguments)


def test_a_variable_of_another_shape_is_no_counterpart():
    with pytest.raises(ValueError, match=r"values of shape \(4,\) for our variable 'bias', got \(2,\); PyTorch has \["):
        parity.check_layer(lambda rngs: nn.Linear(3, 4, rngs=rngs), torch_linear, ROWS)


@pytest.mark.parametrize(
    ("arguments", "wrt", "error", "message"),
    [
        ((squares, 0.5, (ROWS, ROWS)), (0,), TypeError, "reference to be a function, got float; pass one of tensors"),
        ((torch.nn.MSELoss(), squares, (ROWS, ROWS)), (0,), TypeError, "ours to be a function, got MSELoss of torch"),
        ((squares, squares), (0,), TypeError, r"at least one tuple of inputs, such as \(x, y\), got none"),
        ((squares, squares, ROWS, ROWS), (0,), TypeError, r"at least one tuple of inputs, .*, got \['ndarray', 'nda"),
        ((squares, squares, (ROWS, ROWS)), 0, TypeError, r"wrt to be a tuple of positions of inputs, .*, got 0"),
        ((squares, squares, (ROWS, ROWS)), (), TypeError, r"wrt to be a tuple of positions of inputs, .*, got \(\)"),
        ((squares, squares, (ROWS, ROWS)), (2,), ValueError, "positions of floating inputs in wrt, of 2 inputs, got 2"),
        ((squares, squares, (ROWS, np.arange(3))), (1,), ValueError, "positions of floating inputs in wrt, .*, got 1"),
        ((lambda x: 1.0, torch.sum, (ROWS,)), (0,), TypeError, "ours to return an array, got float"),
        ((lambda x: (x, x), torch.sum, (ROWS,)), (0,), TypeError, "ours to return an array, got tuple"),
        ((jnp.sum, lambda x: 1.0, (ROWS,)), (0,), TypeError, "reference to return a tensor, got float"),
        ((jnp.sum, lambda x: x.detach().sum(), (ROWS,)), (0,), ValueError, "the result of reference to have a g"),
    ],
)
def test_losses(arguments, wrt, error, message):
    with pytest.raises(error, match=f"^check_loss: expected {message}"):
        parity.check_loss(*arguments, wrt=wrt)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((optax.sgd, sgd), {}, TypeError, "ours to be an Optax transformation, got function"),
        ((optax.sgd(0.1), sgd([torch.ones(1)])), {}, TypeError, "reference to be a function, got SGD"),
        ((optax.sgd(0.1), lambda parameters: None), {}, TypeError, "reference to make a PyTorch optimizer"),
        ((optax.sgd(0.1), torch.optim.LBFGS), {}, TypeError, "an optimizer whose step takes no closure, got LBFGS"),
        ((optax.sgd(0.1), sgd), {"steps": 0}, ValueError, "steps to be a whole number of at least 1, got 0"),
        ((optax.sgd(0.1), sgd), {"steps": 2.5}, ValueError, "steps to be a whole number of at least 1, got 2.5"),
        ((optax.sgd(0.1), sgd), {"steps": True}, ValueError, "steps to be a whole number of at least 1, got True"),
        ((optax.sgd(0.1), sgd), {"leaves": {}}, TypeError, r"leaves to be a dict of .*Leaf\(.*, got \{\}"),
        ((optax.sgd(0.1), sgd), {"leaves": {"a": np.ones(2)}}, TypeError, r"leaves to be a dict of .*, got \{'a': ar"),
        (
            (optax.sgd(0.1), sgd),
            {"leaves": {"a": LEAF, "b": Leaf(np.ones(2), np.ones((4, 2)))}},
            ValueError,
            r"gradients of shape \(3, 2\) for 'b', one for each step, at least one, got \(4, 2\)",
        ),
        (
            (optax.sgd(0.1), sgd),
            {"leaves": {"a": Leaf(np.ones(2), np.ones((0, 2)))}},
            ValueError,
            r"gradients of shape \(0, 2\) for 'a', one for each step, at least one, got \(0, 2\)",
        ),
    ],
)
def test_optimizers(arguments, options, error, message):
    with pytest.raises(error, match=f"^check_optimizer: expected {message}"):
        parity.check_optimizer(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (
            (0.1, lambda own: lrs.StepLR(own, 3)),
            {},
            TypeError,
            "ours to be a function, got float; pass one of the count",
        ),
        (
            (schedules.step_lr(0.1, 3), 3),
            {},
            TypeError,
            "reference to be a function, got int; pass one that makes the sc",
        ),
        (
            (schedules.step_lr(0.1, 3), lambda own: own),
            {},
            TypeError,
            "reference to make a PyTorch scheduler, got SGD of",
        ),
        (
            (schedules.step_lr(0.1, 3), lrs.ReduceLROnPlateau),
            {},
            TypeError,
            "a scheduler that is a function of the count",
        ),
        (
            (schedules.step_lr(0.1, 3), lambda own: lrs.StepLR(own, 3)),
            {"steps": 0},
            ValueError,
            "steps to be a whole nu",
        ),
    ],
)
def test_schedules(arguments, options, error, message):
    with pytest.raises(error, match=f"^check_schedule: expected {message}"):
        parity.check_schedule(*arguments, **options)
