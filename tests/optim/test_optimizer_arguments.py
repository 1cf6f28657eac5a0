"""Bad hyper-parameters: refused when the optimizer is made, with what was expected and what came."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxtrain import optim

REFUSED = [
    ("sgd", {"lr": -0.1}, r"sgd: lr must lie in \[0, inf\], got -0.1"),
    ("sgd", {"momentum": -0.5}, r"sgd: momentum must lie in"),
    ("sgd", {"weight_decay": -1e-3}, r"sgd: weight_decay must lie in"),
    ("sgd", {"nesterov": True}, r"nesterov needs a momentum above 0 and a dampening of 0, got momentum=0.0"),
    ("sgd", {"nesterov": True, "momentum": 0.9, "dampening": 0.5}, r"dampening=0.5"),
    ("adam", {"lr": -1.0}, r"adam: lr must lie in"),
    ("adam", {"betas": (1.0, 0.999)}, r"adam: betas\[0\] must lie in \[0, 1\), got 1.0"),
    ("adam", {"betas": (0.9, 1.0)}, r"adam: betas\[1\] must lie in"),
    ("adam", {"eps": -1e-8}, r"adam: eps must lie in"),
    ("adam", {"weight_decay": -0.1}, r"adam: weight_decay must lie in"),
    ("adamw", {"lr": float("nan")}, r"adamw: lr must lie in \[0, inf\], got nan"),
    ("adamw", {"betas": (-0.1, 0.9)}, r"adamw: betas\[0\] must lie in"),
    ("adamw", {"weight_decay": -0.1}, r"adamw: weight_decay must lie in"),
    ("rmsprop", {"lr": -1.0}, r"rmsprop: lr must lie in"),
    ("rmsprop", {"alpha": -0.1}, r"rmsprop: alpha must lie in"),
    ("rmsprop", {"eps": -1.0}, r"rmsprop: eps must lie in"),
    ("rmsprop", {"momentum": -1.0}, r"rmsprop: momentum must lie in"),
    ("rmsprop", {"weight_decay": -1.0}, r"rmsprop: weight_decay must lie in"),
]
CLASSES = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}


@pytest.mark.parametrize(("name", "arguments", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_out_of_range(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)(**arguments)


@pytest.mark.parametrize(("name", "arguments", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_torch_refuses_it_too(name, arguments, message):
    with pytest.raises(ValueError):  # noqa: PT011 - torch's own words
        CLASSES[name]([torch.ones(1, requires_grad=True)], **arguments)


@pytest.mark.parametrize("name", CLASSES)
def test_what_is_no_number(name):
    with pytest.raises(TypeError, match=f"{name}: lr must be a number, an array or a schedule, got 'fast'"):
        getattr(optim, name)(lr="fast")


def test_concrete_arrays_are_checked_and_traced_ones_pass():
    with pytest.raises(ValueError, match="sgd: lr must lie in"):
        optim.sgd(jnp.array(-0.1))
    update = jax.jit(lambda lr: optim.sgd(lr).update(jnp.ones(()), optim.sgd(lr).init(jnp.ones(())))[0])
    assert float(update(-0.5)) == 0.5


def test_decay_without_parameters_says_what_to_do():
    optimizer = optim.adamw()
    with pytest.raises(ValueError, match=r"the weight_decay of adamw needs the parameters: call update\(gradients, "):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))


def test_missing_gradients_without_parameters_say_what_to_do():
    optimizer = optim.sgd()
    state = optimizer.init({"a": jnp.ones(2), "b": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"got 1 gradients for 2 parameters; where a parameter has no gradient"):
        optimizer.update({"a": jnp.ones(2), "b": None}, state)


@pytest.mark.parametrize("clip", [optim.clip_grad_norm, optim.clip_grad_value])
def test_negative_limits(clip):
    with pytest.raises(ValueError, match=r"must lie in \[0, inf\], got -1.0"):
        clip(-1.0)


def test_a_nan_gradient_reaches_every_clipped_gradient():
    clipped, _ = optim.clip_grad_norm(1.0).update({"a": jnp.array([jnp.nan]), "b": jnp.array([1.0])}, ())
    assert np.isnan(clipped["b"]).all()
