"""Which PyTorch object each public name of `jaxtrain` stands for, and why where their arguments differ."""

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F

from jaxtrain import losses, nn, optim, regularization, schedules, train

ROOMS: dict[str, ModuleType] = {
    "losses": losses,
    "optim": optim,
    "schedules": schedules,
    "regularization": regularization,
    "nn": nn,
}

WITHOUT_CASE = {
    "optim.SparseRows": "the gradients of `sparse_adam`",
    "optim.separate_steps": "reshapes a state; it computes nothing",
    "schedules.Schedule": "the type of all schedules",
    "schedules.Plateau": "the type of what `reduce_lr_on_plateau` returns",
    "regularization.label_parameters": "labels parameters; it computes nothing",
    "regularization.decay_mask": "masks parameters; it computes nothing",
}
"""Public names that no case covers, and why."""

WITHOUT_COUNTERPART = {
    "losses.rmse_loss": "the root of `mse_loss`, which PyTorch leaves to its user",
    "optim.param_groups": "the `params` of every optimizer, a list of dicts in PyTorch",
    "optim.separate_steps": "every parameter counts its own steps in PyTorch",
    "optim.SparseRows": "the layout of `torch.sparse_coo_tensor`, a builtin",
    "schedules.Schedule": "the type of all schedules",
    "schedules.Plateau": "the state machine that a `ReduceLROnPlateau` object is in PyTorch",
    "schedules.per_epoch": "PyTorch steps a scheduler once an epoch, Optax once a batch",
    "schedules.cyclic_momentum": "the momentum of `CyclicLR`, a schedule of its own here",
    "schedules.one_cycle_momentum": "the momentum of `OneCycleLR`, a schedule of its own here",
    "regularization.label_parameters": "PyTorch groups parameters by hand",
    "regularization.decay_mask": "PyTorch groups parameters by hand",
    "regularization.l1_penalty": "PyTorch users write it",
    "regularization.l2_penalty": "PyTorch users write it",
    "regularization.elastic_net_penalty": "PyTorch users write it",
    "regularization.max_norm": "`torch.renorm` after the step, which PyTorch users write",
    "regularization.unit_norm": "`F.normalize` after the step, which PyTorch users write",
    "regularization.non_negative": "`clamp_` after the step, which PyTorch users write",
    "nn.linear": "`F.linear` is a builtin without a signature",
    "nn.conv": "`F.conv1d`, `2d` and `3d` are builtins without a signature",
    "nn.conv_transpose": "`F.conv_transpose1d`, `2d` and `3d` are builtins without a signature",
}
"""Public names that have no PyTorch object with a signature, and why."""

COUNTERPARTS: dict[str, Any] = {
    "optim.clip_grad_norm": torch.nn.utils.clip_grad_norm_,
    "optim.clip_grad_value": torch.nn.utils.clip_grad_value_,
    "optim.averaged_model": torch.optim.swa_utils.AveragedModel,
    "optim.get_ema_avg_fn": torch.optim.swa_utils.get_ema_avg_fn,
    "optim.get_swa_avg_fn": torch.optim.swa_utils.get_swa_avg_fn,
    "nn.FeatureDropout": torch.nn.Dropout1d,
    "nn.feature_dropout": F.dropout1d,
    "schedules.swa_lr": torch.optim.swa_utils.SWALR,
    "train.update_bn": torch.optim.swa_utils.update_bn,
}
"""Where the rule of names does not lead to the counterpart."""

NOT_OURS = {
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
    "dtype": "Flax calls it `param_dtype`",
    "device": "JAX places arrays by `jax.default_device` and shardings",
    "sparse": "gradients of single rows are what `optim.sparse_adam` takes",
    "_weight": "private in PyTorch",
    "_freeze": "private in PyTorch",
    "error_if_nonfinite": "compiled code cannot raise; the NaN reaches the loss, where `fit` stops",
}
"""Arguments of PyTorch that no function here has, and why."""

JAX_ONLY = {
    "lr": "takes the optimizer's place in a schedule",
    "axis": "channels and classes are on the last axis unless it says otherwise",
    "key": "randomness is an explicit key",
    "rngs": "randomness is an explicit key",
    "dtype": "in Flax the dtype of the computation",
    "kernel_init": "Flax layers take their initializers",
    "bias_init": "Flax layers take their initializers",
    "embedding_init": "Flax layers take their initializers",
    "param_dtype": "Flax's name for the dtype of the parameters",
    "axis_name": "names the mesh axis over which statistics are shared",
}
"""Arguments of ours that PyTorch has not, and why."""


OTHER_ARGUMENTS = {
    ("losses.linear_cross_entropy", "options"): "an object that holds PyTorch's chunk sizes",
    ("losses.linear_cross_entropy", "chunk_size"): "what PyTorch's `options` hold",
    ("nn.ConvTranspose", "padding_mode"): "PyTorch knows zeros only there",
    ("optim.averaged_model", "model"): "its `init` receives the parameters",
    ("optim.averaged_model", "multi_avg_fn"): "XLA compiles `avg_fn` for all parameters at once",
    ("schedules.cyclic_lr", "cycle_momentum"): "`cyclic_momentum` is the schedule of the momentum",
    ("schedules.cyclic_lr", "base_momentum"): "`cyclic_momentum` is the schedule of the momentum",
    ("schedules.cyclic_lr", "max_momentum"): "`cyclic_momentum` is the schedule of the momentum",
    ("schedules.one_cycle_lr", "cycle_momentum"): "`one_cycle_momentum` is the schedule of the momentum",
    ("schedules.one_cycle_lr", "base_momentum"): "`one_cycle_momentum` is the schedule of the momentum",
    ("schedules.one_cycle_lr", "max_momentum"): "`one_cycle_momentum` is the schedule of the momentum",
}
"""Single arguments that only one side has, and why."""


def public_names() -> Iterator[tuple[str, Callable]]:
    """What the five rooms export, functions and classes except the state types, and the function `update_bn`."""
    for room, module in ROOMS.items():
        for name, value in vars(module).items():
            if callable(value) and not name.startswith("_") and not name.endswith("State"):
                yield f"{room}.{name}", value
    yield "train.update_bn", train.update_bn


def counterpart(name: str) -> Any:
    """The PyTorch object that has the same name; None if there is none."""
    if name in COUNTERPARTS or name in WITHOUT_COUNTERPART:
        return COUNTERPARTS.get(name)
    room, _, own = name.partition(".")
    if room == "losses":
        return getattr(F, own, None)
    if room == "optim":
        return _ignoring_case(torch.optim, own)
    if room == "schedules":
        return _ignoring_case(torch.optim.lr_scheduler, own)
    if room == "nn":
        return getattr(torch.nn, own, None) or getattr(torch.nn, f"{own}1d", None) or getattr(F, own, None)
    return None


def arguments(function: Callable) -> dict[str, inspect.Parameter]:
    """The arguments of a function, or of the class that is made, by name."""
    parameters = inspect.signature(function.__init__ if isinstance(function, type) else function).parameters
    return {name: parameter for name, parameter in parameters.items() if name != "self"}


def _ignoring_case(module: ModuleType, name: str) -> Any:
    classes = {known.lower(): value for known, value in vars(module).items() if isinstance(value, type)}
    return classes.get(name.replace("_", ""))
