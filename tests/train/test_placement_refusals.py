"""Placements that cannot be, and rules and batches that do not fit them."""

import re

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.sharding import AxisType, PartitionSpec

from jaxtrain import nn, optim
from jaxtrain.train import Placement, TrainState, fit, make_eval_step, make_train_step

P = PartitionSpec
DATA = jnp.ones((36, 4))


class Net(nnx.Module):
    def __init__(self):
        self.hidden = nn.Linear(4, 16, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.hidden(x)


def loss_fn(model, batch):
    return model(batch).mean()


def new():
    return TrainState.create(Net(), optim.sgd(0.1))


def run(placement):
    return fit(new(), loss_fn, DATA, epochs=1, batch_size=12, placement=placement, progress=False)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"mesh": 8}, TypeError, "expected a mesh, or the sizes of its axes by name, got 8"),
        ({"mesh": {"data": 3}}, ValueError, "whose product is the number of devices, 8, got {'data': 3}"),
        ({"mesh": {"data": 0}}, ValueError, "mesh['data'] must be at least 1, got 0"),
        (
            {"data": "rows"},
            ValueError,
            "name axes of the mesh, ('data',), each once, got ['rows']; pass data= with one",
        ),
        ({"data": ("data", "data")}, ValueError, "each once, got ('data', 'data')"),
        (
            {"fully_sharded": True},
            TypeError,
            "fully_sharded must be the name of an axis, several names or None, got True",
        ),
        (
            {"fully_sharded": "fsdp"},
            ValueError,
            "expected fully_sharded to name axes of the mesh",
        ),
        ({"rules": {"(": P()}}, ValueError, "expected regular expressions in rules, got '('"),
        ({"rules": {"kernel": "data"}}, TypeError, "expected rules to be a dict with a jax.sharding.PartitionSpec"),
        ({"min_size": -1}, ValueError, "min_size must be at least 0, got -1"),
    ],
)
def test_bad_placements_are_refused(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Placement(**arguments)


def test_fully_sharded_needs_automatic_axes():
    mesh = jax.make_mesh((2, 4), ("data", "model"))
    with pytest.raises(ValueError, match=r"automatic axes for fully_sharded.*\{'data': 2, 'model': 4\}"):
        Placement(mesh, fully_sharded="data")
    mixed = jax.make_mesh((2, 4), ("data", "model"), axis_types=(AxisType.Auto, AxisType.Explicit))
    with pytest.raises(ValueError, match="all automatic, or all explicit"):
        Placement(mixed)
    with pytest.raises(ValueError, match=r"all automatic, or all explicit, got .*Manual"):
        Placement(jax.make_mesh((8,), ("data",), axis_types=(AxisType.Manual,)))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            {"decoder": P("model")},
            "rules that match a variable, got 'decoder'; there are hidden/bias, hidden/kernel",
        ),
        ({"bias": P(None, "model")}, "at most 1 entries for hidden/bias, of shape (16,)"),
        ({"kernel": P("model", "model")}, "expected each axis at most once for hidden/kernel, got P('model', 'model')"),
        ({"kernel": P(P.UNCONSTRAINED)}, "expected axes or None for hidden/kernel, got UNCONSTRAINED in P("),
        ({"kernel": P("rows")}, "expected axes of the mesh, ('data', 'model'), for hidden/kernel, got {'rows'}"),
        (
            {"kernel": P(("data", "model"))},
            "expected dimension 0 of hidden/kernel, of shape (4, 16), to be a multiple of 8, the devices along "
            "('data', 'model'), got 4",
        ),
    ],
)
def test_rules_that_do_not_fit_are_refused(rules, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Placement({"data": 2, "model": 4}, rules=rules).shardings(jax.eval_shape(new))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: run("data"), "fit: placement must be a train.Placement or None, got str; pass Placement()"),
        (
            lambda: make_train_step(loss_fn, placement=Placement().mesh),
            "make_train_step: placement must be .* got Mesh",
        ),
        (lambda: make_eval_step(loss_fn, placement=8), "make_eval_step: placement must be .*, got int"),
        (lambda: Placement().put(Net()), "expected a TrainState, got Net; make one with TrainState.create"),
        (lambda: Placement().create(Net), "expected a TrainState, got Net"),
        (lambda: Placement().create(new()), "expected a function that makes a state, got TrainState"),
    ],
)
def test_what_is_not_a_placement_or_a_state_is_refused(use, message):
    with pytest.raises(TypeError, match=message):
        use()


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="fit: batch_size: expected a multiple of 8, the devices along 'data', got 12"):
        run(Placement())
