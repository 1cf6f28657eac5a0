"""Which of PyTorch's optimizers saved a state: its groups name the hyper-parameters of its class."""

from collections.abc import Callable, Iterable, Mapping
from inspect import signature
from typing import Any

from jaxtrain import optim

MAKERS: dict[str, Callable[..., Any]] = {
    "Adadelta": optim.adadelta,
    "Adafactor": optim.adafactor,
    "Adagrad": optim.adagrad,
    "Adam": optim.adam,
    "AdamW": optim.adamw,
    "Adamax": optim.adamax,
    "ASGD": optim.asgd,
    "LBFGS": optim.lbfgs,
    "Muon": optim.muon,
    "NAdam": optim.nadam,
    "RAdam": optim.radam,
    "RMSprop": optim.rmsprop,
    "Rprop": optim.rprop,
    "SGD": optim.sgd,
    "SparseAdam": optim.sparse_adam,
}
"""By PyTorch's class. The states here have the same names followed by `State`; AdamW has Adam's."""
OURS_ONLY = ("dtype", "axis")
"""Arguments here that PyTorch does not have."""
NAMES = {kind: signature(make).parameters.keys() - {*OURS_ONLY} for kind, make in MAKERS.items()}
"""The hyper-parameters in the groups of each class."""
NOT_HYPERPARAMETERS = ("params", "param_names", "foreach", "fused", "capturable", "differentiable", "swa_lr")
"""What groups hold besides: parameters, choices between PyTorch's kernels, and the target of `SWALR`."""
OF_SCHEDULERS = ("initial_lr", "max_lr", "min_lr")
"""What schedulers of the learning rate write into groups."""
OF_MOMENTUM_CYCLES = ("base_momentum", "max_momentum")
"""What `OneCycleLR` and `CyclicLR` write into groups whose momentum they change."""


def hyperparameters(group: Mapping[str, Any]) -> dict[str, Any]:
    """The hyper-parameters in one of PyTorch's groups."""
    others = (*NOT_HYPERPARAMETERS, *OF_SCHEDULERS, *OF_MOMENTUM_CYCLES)
    return {name: value for name, value in group.items() if name not in others}


def foreign(state: Any, groups: Iterable[Mapping[str, Any]]) -> str:
    """Why no group belongs to the optimizer that has this state; empty if one may.

    Groups from other versions of PyTorch, or with entries that a script added, tell nothing.
    """
    own = type(state).__name__.removesuffix("State")
    serves = {"Adam", "AdamW"} if own == "Adam" else {own}
    kinds = [{kind for kind, names in NAMES.items() if names == hyperparameters(group).keys()} for group in groups]
    if not kinds or any(not some or some & serves for some in kinds):
        return ""
    return f"expected the groups of torch.optim.{own}, got those of {min(kinds[0])}: build the same optimizer"
