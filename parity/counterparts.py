"""The names of PyTorch and of `jaxtrain` for the same thing, and the reasons where names or arguments differ."""

import inspect
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, get_overloads

from jaxtrain import interop, losses, nn, optim, regularization, schedules, train

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
    "nn.TransformerEncoder": "repeats a layer that has cases; its own test compares it with PyTorch's",
    "nn.TransformerDecoder": "repeats a layer that has cases; its own test compares it with PyTorch's",
}
"""Public names that no case covers, and why."""

WITHOUT_COUNTERPART = {
    "losses.rmse_loss": "the root of `mse_loss`, which PyTorch leaves to its user",
    "optim.param_groups": "the `params` of every optimizer, a list of dicts in PyTorch",
    "optim.separate_steps": "every parameter counts its own steps in PyTorch",
    "optim.SparseRows": "the layout of `torch.sparse_coo_tensor`, a builtin",
    "interop.load_optimizer": "`Optimizer.load_state_dict` is a method",
    "interop.optimizer_state_dict": "`Optimizer.state_dict` is a method",
    "interop.load_scheduler": "`LRScheduler.load_state_dict` is a method",
    "interop.scheduler_state_dict": "`LRScheduler.state_dict` is a method",
    "schedules.Schedule": "the type of all schedules",
    "schedules.Plateau": "the state machine that a `ReduceLROnPlateau` object is in PyTorch",
    "schedules.per_epoch": "PyTorch steps a scheduler once an epoch, Optax once a batch",
    "schedules.cyclic_momentum": "the momentum of `CyclicLR`, a separate schedule here",
    "schedules.one_cycle_momentum": "the momentum of `OneCycleLR`, a separate schedule here",
    "regularization.label_parameters": "PyTorch groups parameters by hand",
    "regularization.decay_mask": "PyTorch groups parameters by hand",
    "regularization.l1_penalty": "PyTorch users write it",
    "regularization.l2_penalty": "PyTorch users write it",
    "regularization.elastic_net_penalty": "PyTorch users write it",
    "regularization.max_norm": "`torch.renorm` after the step, which PyTorch users write",
    "regularization.unit_norm": "`F.normalize` after the step, which PyTorch users write",
    "regularization.non_negative": "`clamp_` after the step, which PyTorch users write",
    "nn.linear": "`F.linear` is a builtin without a signature",
    "nn.scaled_dot_product_attention": "`F.scaled_dot_product_attention` is a builtin without a signature",
    "nn.conv": "`F.conv1d`, `2d` and `3d` are builtins without a signature",
    "nn.conv_transpose": "`F.conv_transpose1d`, `2d` and `3d` are builtins without a signature",
    "nn.bilinear": "`F.bilinear` is a builtin without a signature",
    "nn.max_pool": "`F.max_pool1d`, `2d` and `3d` have no signature but `*args, **kwargs`",
    "nn.adaptive_max_pool": "`F.adaptive_max_pool1d`, `2d` and `3d` have no signature but `*args, **kwargs`",
    "nn.unflatten": "`torch.nn.Unflatten` takes names of axes as well",
    **{
        f"nn.{name}": f"`F.{name}` is a builtin without a signature"
        for name in (
            *("gelu", "softplus", "logsigmoid", "hardshrink", "softshrink", "prelu"),
            *("pairwise_distance", "cosine_similarity", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
        )
    },
    "nn.avg_pool": "`F.avg_pool1d`, `2d` and `3d` are builtins without a signature",
    "nn.adaptive_avg_pool": "`F.adaptive_avg_pool1d` is a builtin without a signature",
}
"""Public names that have no PyTorch object with a signature, and why."""

HOMES: dict[str, tuple[str, ...]] = {
    "nn.functional": ("losses", "nn"),
    "nn": ("nn", "losses"),
    "optim": ("optim",),
    "optim.lr_scheduler": ("schedules",),
    "optim.swa_utils": ("optim", "schedules", "train"),
}
"""The rooms in which the names of a PyTorch module are found. Functions come before modules, as ours are functions."""

OTHER_NAMES = {
    "amp.GradScaler": "train.GradScaler",
    "nn.BCELoss": "losses.binary_cross_entropy",
    "nn.BCEWithLogitsLoss": "losses.binary_cross_entropy_with_logits",
    "nn.SyncBatchNorm": "nn.BatchNorm",
    "nn.Upsample": "nn.interpolate",
    "functional.cdist": "nn.cdist",
    "nn.utils.clip_grad_norm_": "optim.clip_grad_norm",
    "nn.utils.clip_grad_value_": "optim.clip_grad_value",
    **{f"nn.Dropout{axes}d": "nn.FeatureDropout" for axes in (1, 2, 3)},
    **{f"nn.functional.dropout{axes}d": "nn.feature_dropout" for axes in (1, 2, 3)},
}
"""Our names that do not follow from PyTorch's by rule."""

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
    "inplace": "JAX changes nothing in place",
    "dtype": "Flax calls it `param_dtype`",
    "batch_first": "sequences are batch first here",
    "device": "JAX places arrays by `jax.default_device` and shardings",
    "sparse": "`optim.sparse_adam` takes the gradients of single rows",
    "dim": "called `axis`, which counts from the layout with the channels last",
    "out": "JAX changes nothing in place",
    "_stacklevel": "private in PyTorch",
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
"""Arguments of ours that PyTorch does not have, and why."""


OTHER_ARGUMENTS = {
    ("train.GradScaler", "enabled"): "without a scaler there is no scaling",
    ("losses.linear_cross_entropy", "options"): "an object that holds PyTorch's chunk sizes",
    ("losses.linear_cross_entropy", "chunk_size"): "a size in PyTorch's `options`",
    ("nn.ConvTranspose", "padding_mode"): "PyTorch accepts only zeros there",
    ("nn.TransformerEncoder", "enable_nested_tensor"): "chooses between kernels of PyTorch",
    ("nn.TransformerEncoder", "mask_check"): "chooses between kernels of PyTorch",
    ("nn.cdist", "compute_mode"): "all distances are norms of differences",
    ("nn.flatten", "input"): "PyTorch has a layer only",
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


@cache
def public() -> dict[str, Callable]:
    """Every function and class that the five rooms export, by its name, and those of others that have cases; not the
    types of states.
    """
    exported = {
        f"{room}.{name}": value
        for room, module in ROOMS.items()
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and not name.endswith("State")
    }
    return exported | {
        "train.update_bn": train.update_bn,
        "train.GradScaler": train.GradScaler,
        "interop.load_optimizer": interop.load_optimizer,
        "interop.optimizer_state_dict": interop.optimizer_state_dict,
        "interop.load_scheduler": interop.load_scheduler,
        "interop.scheduler_state_dict": interop.scheduler_state_dict,
    }


def component_of(torch_name: str) -> str | None:
    """Our name for PyTorch's, such as `optim.adam` for `optim.Adam`; None if there is none.

    In `nn` both have the same name, except for PyTorch's number of axes. Elsewhere ours is a function in snake case,
    and the name of a loss may end without the word.
    """
    if torch_name in OTHER_NAMES:
        return OTHER_NAMES[torch_name]
    module, _, name = torch_name.rpartition(".")
    for room in HOMES.get(module, ()):
        if found := _names(room).get(_plain(room, name)):
            return found
    # A layer without variables is a function here.
    return _functions().get(_letters(_plain("nn", name))) if module == "nn" else None


def counterpart(name: str) -> Any:
    """The PyTorch object that a public name stands for, the first if there are several; None if there is none."""
    return None if name in WITHOUT_COUNTERPART else _counterparts().get(name)


def left_out(component: str) -> set[str]:
    """The arguments of PyTorch that a component does not have."""
    return {*NOT_OURS, *(argument for name, argument in OTHER_ARGUMENTS if name == component)}


def arguments(function: Callable) -> dict[str, inspect.Parameter]:
    """The arguments of a function, or of the class that is made, by name; those of the first overload if it has any."""
    called = function.__init__ if isinstance(function, type) else function
    parameters = inspect.signature(next(iter(get_overloads(called)), called)).parameters
    return {name: parameter for name, parameter in parameters.items() if name != "self"}


@cache
def _counterparts() -> dict[str, Any]:
    torch_names = [
        f"{module}.{name}"
        for module in HOMES
        for name, value in sorted(vars(import_module(f"torch.{module}")).items())
        if callable(value) and not name.startswith("_")
    ]
    found: dict[str, Any] = {}
    for torch_name in [*torch_names, *OTHER_NAMES]:
        if (name := component_of(torch_name)) and name not in found:
            module, _, own = torch_name.rpartition(".")
            found[name] = getattr(import_module(f"torch.{module}"), own)
    return found


@cache
def _names(room: str) -> dict[str, str]:
    """The public names of a room, by what they share with PyTorch's."""
    return {_plain(room, name.partition(".")[2]): name for name in public() if name.startswith(f"{room}.")}


@cache
def _functions() -> dict[str, str]:
    """The functions of `nn`, by the letters of their names."""
    functions = (name for name, value in public().items() if name.startswith("nn.") and not isinstance(value, type))
    return {_letters(name.partition(".")[2]): name for name in functions}


def _letters(name: str) -> str:
    return name.replace("_", "").lower()


def _plain(room: str, name: str) -> str:
    """What our name and PyTorch's have in common."""
    if room == "nn":
        return re.sub(r"(?<=[a-z])[123]d$", "", name)
    return name.replace("_", "").lower().removesuffix("loss")
