"""Read the class and the attributes of a PyTorch scheduler, from the object or from its `state_dict`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtrain._ground.checks import check_integer

TOLD_BY = {
    "_milestones": "SequentialLR",
    "_schedulers": "ChainedScheduler",
    "num_bad_epochs": "ReduceLROnPlateau",
    "lr_lambdas": "LambdaLR or MultiplicativeLR",
    "step_size": "StepLR",
    "milestones": "MultiStepLR",
    "start_factor": "LinearLR",
    "power": "PolynomialLR",
    "factor": "ConstantLR",
    "T_max": "CosineAnnealingLR",
    "T_0": "CosineAnnealingWarmRestarts",
    "_schedule_phases": "OneCycleLR",
    "max_lrs": "CyclicLR",
    "anneal_epochs": "SWALR",
    "gamma": "ExponentialLR",
}
"""The attribute that tells a class from those after it."""

BY_GROUP = {"ReduceLROnPlateau": "min_lrs"}
"""A list with an element for each parameter group, where it is not `base_lrs`."""

EXPECTED = "expected a scheduler of torch.optim.lr_scheduler, or its state_dict, got"


@dataclass(frozen=True)
class SavedScheduler:
    """A scheduler at any step.

    Attributes:
        where: the function that reads it, for messages.
        kind: the name of its class.
        values: its attributes.
        groups: the optimizer's parameter groups, where some schedulers keep numbers; None if they are not known.
        parts: the schedulers of a composition.
    """

    where: str
    kind: str
    values: Mapping[str, Any]
    groups: Sequence[Mapping[str, Any]] | None
    parts: tuple["SavedScheduler", ...] = ()

    def __getitem__(self, name: str) -> Any:
        if name in self.values:
            return self.values[name]
        raise ValueError(
            f"{self.where}: expected the attribute {name!r} of this {self.kind}, got {sorted(self.values)}; another "
            "version of PyTorch saved it"
        )

    @property
    def count(self) -> int:
        """How many steps it has made."""
        if self.kind == "ChainedScheduler":
            return self.parts[0].count
        # A part of a SequentialLR that has not begun has -1.
        return check_integer(self.where, f"last_epoch of this {self.kind}", self["last_epoch"], -1, 2**31 - 1)

    def check_group(self, group: int) -> None:
        """Raise unless there is this parameter group."""
        number = len(self[BY_GROUP.get(self.kind, "base_lrs")])
        if number == 0:
            raise ValueError(f"{self.where}: expected an optimizer with parameter groups, got one without")
        check_integer(self.where, "group", group, 0, number - 1)

    def of_group(self, name: str, group: int) -> Any:
        """A number that this scheduler keeps in a parameter group."""
        if self.groups is None:
            raise ValueError(
                f"{self.where}: {self.kind} keeps {name!r} in the optimizer's groups; pass optimizer=, its state_dict"
            )
        if group < len(self.groups) and name in self.groups[group]:
            return self.groups[group][name]
        raise ValueError(
            f"{self.where}: expected {name!r} of this {self.kind} in group {group} of the optimizer, got a group "
            "without it; pass the state_dict of the optimizer that this scheduler drives"
        )


def read(where: str, scheduler: Any, optimizer: Any = None) -> SavedScheduler:
    """The scheduler in an object or a `state_dict`; the latter does not have the optimizer."""
    if isinstance(scheduler, Mapping):
        kind = next((kind for name, kind in TOLD_BY.items() if name in scheduler), None)
        if kind is None:
            raise TypeError(f"{where}: {EXPECTED} a dict of {list(scheduler)[:5]}")
        return _saved(where, kind, scheduler, _groups(where, optimizer))
    kind = type(scheduler).__name__
    if kind not in " ".join(TOLD_BY.values()).split() or not hasattr(scheduler, "optimizer"):
        raise TypeError(f"{where}: {EXPECTED} {kind}")
    return _saved(where, kind, vars(scheduler), scheduler.optimizer.param_groups)


def _saved(where: str, kind: str, values: Mapping[str, Any], groups: Any) -> SavedScheduler:
    inner = values["_schedulers"] if kind in ("SequentialLR", "ChainedScheduler") else ()
    optimizer = None if groups is None else {"param_groups": groups}
    return SavedScheduler(where, kind, values, groups, tuple(read(where, part, optimizer) for part in inner))


def _groups(where: str, optimizer: Any) -> Any:
    """The parameter groups of an optimizer, or of its `state_dict`."""
    if optimizer is None:
        return None
    groups = (
        optimizer.get("param_groups") if isinstance(optimizer, Mapping) else getattr(optimizer, "param_groups", None)
    )
    if groups is None:
        raise TypeError(f"{where}: optimizer must be PyTorch's, or its state_dict, got {type(optimizer).__name__}")
    return groups
