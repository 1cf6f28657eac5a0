"""Which PyTorch object each public name of `jaxtrain` stands for, and every deviation of its arguments, with the reason."""

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F

from jaxtrain import losses, nn, optim, regularization, schedules

ROOMS: dict[str, ModuleType] = {
    "losses": losses,
    "optim": optim,
    "schedules": schedules,
    "regularization": regularization,
    "nn": nn,
}

WITHOUT_CASE = {
    "schedules.Schedule": "the type of all schedules",
    "regularization.label_parameters": "labels parameters; it computes nothing",
    "regularization.decay_mask": "masks parameters; it computes nothing",
}
"""Public names that no case covers, and why."""

WITHOUT_COUNTERPART = {
    "losses.rmse_loss": "the root of torch's mse_loss, which torch leaves to its user",
}
"""Public names that PyTorch has not, and why we do."""

COUNTERPARTS: dict[str, Any] = {
    "optim.clip_grad_norm": torch.nn.utils.clip_grad_norm_,
    "optim.clip_grad_value": torch.nn.utils.clip_grad_value_,
}
"""Where the rule of names does not lead to the counterpart."""

NOT_OURS = {
    "self": "Python's",
    "params": "an Optax transformation receives the parameters in `init` and `update`",
    "parameters": "an Optax transformation receives the gradients in `update`",
    "optimizer": "a schedule is a function of the count; the base learning rate takes the optimizer's place",
    "last_epoch": "a schedule is resumed by calling it with a later count",
    "size_average": "deprecated in PyTorch; `reduction` says it",
    "reduce": "deprecated in PyTorch; `reduction` says it",
    "foreach": "chooses between kernels of PyTorch; XLA compiles one",
    "fused": "chooses between kernels of PyTorch; XLA compiles one",
    "capturable": "for CUDA graphs; every step here is compiled",
    "differentiable": "every step here can be differentiated",
    "inplace": "nothing is in place in JAX",
    "device": "JAX places arrays by `jax.default_device` and shardings",
    "error_if_nonfinite": "compiled code cannot raise; the NaN reaches the loss, where `fit` stops",
}
"""Arguments of PyTorch that no function here has, and why."""

JAX_ONLY = {
    "lr": "takes the optimizer's place in a schedule",
    "axis": "channels and classes are on the last axis unless it says otherwise",
    "key": "randomness is an explicit key",
    "rngs": "randomness is an explicit key",
    "dtype": "in Flax the dtype of the computation",
    "param_dtype": "Flax's name for the dtype of the parameters",
    "axis_name": "names the mesh axis over which statistics are shared",
}
"""Arguments of ours that PyTorch has not, and why."""


def public_names() -> Iterator[tuple[str, Callable]]:
    """Every function and class that the five rooms export, but the state types of optimizers."""
    for room, module in ROOMS.items():
        for name, value in vars(module).items():
            if callable(value) and not name.startswith("_") and not name.endswith("State"):
                yield f"{room}.{name}", value


def counterpart(name: str) -> Any:
    """The PyTorch object of the same name; None if there is none."""
    if name in COUNTERPARTS:
        return COUNTERPARTS[name]
    room, _, own = name.partition(".")
    if room == "losses":
        return getattr(F, own, None)
    if room == "optim":
        classes = {name.lower(): value for name, value in vars(torch.optim).items() if isinstance(value, type)}
        return classes.get(own.replace("_", ""))
    if room == "schedules":
        classes = {name.lower(): value for name, value in vars(torch.optim.lr_scheduler).items()}
        return classes.get(own.replace("_", ""))
    if room == "nn":
        return getattr(torch.nn, own, None) or getattr(torch.nn, f"{own}1d", None) or getattr(F, own, None)
    return None


def arguments(function: Callable) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)
