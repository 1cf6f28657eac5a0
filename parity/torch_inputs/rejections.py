"""The inputs that PyTorch's tests expect an optimizer to reject, and what becomes of them here."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import torch

from jaxtrain import optim
from parity.torch_inputs import torch_databases
from parity.torch_inputs.outcome import Kind, Outcome
from parity.torch_inputs.torch_databases import OptimizerInput

NO_COUNTERPART = {
    "invalid param type": "a single array is a pytree of parameters here",
    "a param group cannot have duplicate parameters": "a regular expression matches a parameter once",
    "all optimizer params should be with/without names": "every leaf of a pytree has a path",
    "all optimizer param groups should be with/without names.": "every leaf of a pytree has a path",
    "betas must be either both floats or both Tensors": "floats and traced numbers go together here",
    "dense params required": "a parameter is an array here",
    "dense params required in param_groups": "a parameter is an array here",
}
"""Errors that cannot happen here, by PyTorch's description, and why."""

TAKES_PARAMETERS = {
    "only support 2D parameters": "matrices",
    "does not support complex parameters": "complex",
    "Adafactor does not support complex parameters": "complex",
    "complex not supported": "complex",
}
"""Errors in the parameters, by PyTorch's description, and the word that our message uses."""


def outcomes(component: str, optimizer: Callable[..., Any], torch_name: str) -> Iterator[Outcome]:
    """What becomes of each input that PyTorch's class rejects."""
    for found in torch_databases.optimizer_errors(torch_name):
        name = f"{component}, {found.description}"
        if reason := NO_COUNTERPART.get(found.description):
            yield Outcome(Kind.WITHOUT_COUNTERPART, name, reason)
        elif wrong := _wrong(optimizer, found):
            yield Outcome(Kind.NOT_REJECTED, name, wrong)
        else:
            yield Outcome(Kind.REJECTED, name)


def _wrong(optimizer: Callable[..., Any], found: OptimizerInput) -> str:
    """What is wrong with our answer; empty if it is an error that names the argument and the parameter."""
    call, words = _attempt(optimizer, found)
    try:
        call()
    except (ValueError, TypeError) as error:
        missing = [word for word in words if word not in str(error)]
        return f"expected an error that names {missing}, got {error!r}" if missing else ""
    return "expected an error, got a transformation"


def _attempt(optimizer: Callable[..., Any], found: OptimizerInput) -> tuple[Callable[[], Any], list[str]]:
    """The call for an input, and the words that its error must have, one of them the argument's name."""
    arguments = {name: _to_jax(value) for name, value in found.kwargs.items()}
    if found.description == "duplicate parameters should not occur across param groups either":
        groups: dict[str | None, dict[str, Any]] = {"weight": {}, "kernel|weight": {"lr": 0.1}}
        parameters = {"weight": jnp.ones((2, 2))}
        return lambda: optim.param_groups(optimizer, groups, **arguments).init(parameters), ["weight", "kernel|weight"]
    if word := TAKES_PARAMETERS.get(found.description):
        shape, dtype = ((2, 2, 2), "float32") if word == "matrices" else ((2, 2), "complex64")
        return lambda: optimizer(**arguments).init({"weight": jnp.ones(shape, dtype)}), ["weight", word]
    return partial(optimizer, **arguments), [_culprit(found)]


def _culprit(found: OptimizerInput) -> str:
    """The argument that is wrong: the one that PyTorch's message names, else the last one given."""
    named = [name for name in found.kwargs if re.search(rf"\b{name.rstrip('s')}", found.error)]
    return named[-1] if named else list(found.kwargs)[-1]


def _to_jax(value: Any) -> Any:
    """Tensors as arrays, in tuples too."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf.numpy()) if isinstance(leaf, torch.Tensor) else leaf, value)
