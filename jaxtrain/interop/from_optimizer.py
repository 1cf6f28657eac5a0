"""An optimizer of this package with the hyper-parameters of PyTorch's."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import optax

from jaxtrain import optim

NOT_HYPERPARAMETERS = ("params", "param_names", "foreach", "fused", "capturable", "differentiable", "swa_lr")
"""What groups hold besides: parameters, choices between PyTorch's kernels, and the target of `SWALR`."""
OF_SCHEDULERS = ("initial_lr", "max_lr", "min_lr")
"""What schedulers of the learning rate write into groups."""
OF_MOMENTUM_CYCLES = ("base_momentum", "max_momentum")
"""What `OneCycleLR` and `CyclicLR` write into groups whose momentum they change."""


def optimizer_from_torch(
    optimizer: Any, groups: Sequence[str | None] | None = None, *, kind: str | None = None, **changes: Any
) -> optax.GradientTransformation:
    """Build the optimizer that a PyTorch optimizer is, with the same hyper-parameters.

    Args:
        optimizer: an optimizer of `torch.optim`, or its `state_dict()`.
        groups: for an optimizer with several parameter groups, a regular expression for each of them, in order, as
            `optim.param_groups` takes them; None for the group of all other parameters. Default None: one group.
        kind: the name of PyTorch's class, such as "AdamW"; needed with a `state_dict`, which does not have it. Default
            None.
        **changes: hyper-parameters to use instead. Where a scheduler drives the learning rate, or a cycle the
            momentum, they must be here: `lr=interop.schedule_from_torch(scheduler)`. A list gives each group its own.

    Returns:
        The optimizer. Its state is empty, see `load_optimizer`.

    Raises:
        TypeError: if `optimizer` is not an optimizer of `torch.optim`, or `kind` not the name of one.
        ValueError: if the groups do not fit, or a hyper-parameter cannot be carried over. The message names it.

    Example:
        >>> import torch
        >>> from jaxtrain import interop
        >>> adam = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], lr=0.1, weight_decay=0.05)
        >>> optimizer = interop.optimizer_from_torch(adam)

    PyTorch: none.
    """
    where = "optimizer_from_torch"
    theirs: Sequence[Mapping[str, Any]] = ()
    if not isinstance(optimizer, Mapping):
        kind, theirs = type(optimizer).__name__, getattr(optimizer, "param_groups", ())
    elif {"state", "param_groups"} <= optimizer.keys():
        if kind is None:
            raise TypeError(
                f'{where}: a state_dict does not have the name of its class; pass kind="AdamW" for instance'
            )
        theirs = optimizer["param_groups"]
    ours = next((name for name in dir(optim) if name.replace("_", "") == str(kind).lower()), None)
    if kind is None or ours is None or not theirs:
        got = type(optimizer).__name__ if kind is None else kind
        raise TypeError(f"{where}: expected an optimizer of torch.optim, got {got}")
    make = getattr(optim, ours)
    if groups is None and len(theirs) == 1:
        return make(**_arguments(where, kind, make, theirs[0], changes))
    if groups is None or len(groups) != len(theirs):
        given = "none" if groups is None else len(groups)
        raise ValueError(f"{where}: {kind} has {len(theirs)} groups; pass `groups`, a pattern for each, got {given}")
    options = {
        pattern: _arguments(where, kind, make, group, own)
        for pattern, group, own in zip(groups, theirs, _by_group(where, kind, theirs, changes), strict=True)
    }
    if len(options) != len(theirs):
        raise ValueError(f"{where}: expected different patterns in `groups`, got {list(groups)}")
    return optim.param_groups(make, options)


def _by_group(
    where: str, kind: str, groups: Sequence[Mapping[str, Any]], changes: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The changes for each group."""
    rates = [float(group.get("initial_lr", group["lr"])) for group in groups]
    if len(set(rates)) > 1 and "lr" in changes and not isinstance(changes["lr"], list):
        raise ValueError(
            f"{where}: the groups of this {kind} start with the learning rates {rates}; pass a list with an lr for "
            "each of them, [schedule_from_torch(scheduler, 0), schedule_from_torch(scheduler, 1)] for instance"
        )
    wrong = [name for name, value in changes.items() if isinstance(value, list) and len(value) != len(groups)]
    if wrong:
        raise ValueError(f"{where}: {kind} has {len(groups)} groups; expected as many elements in {wrong}")
    return [
        {name: value[number] if isinstance(value, list) else value for name, value in changes.items()}
        for number in range(len(groups))
    ]


def _arguments(
    where: str, kind: str, make: Any, group: Mapping[str, Any], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of our optimizer from one of PyTorch's groups."""
    own = inspect.signature(make).parameters
    if "initial_lr" in group and "lr" not in changes:
        raise ValueError(
            f"{where}: a scheduler drives the learning rate of this {kind}; pass it as "
            "lr=interop.schedule_from_torch(scheduler), or pass a number"
        )
    cycled = "betas" if "betas" in group else "momentum"
    if any(name in group for name in OF_MOMENTUM_CYCLES) and cycled not in changes:
        raise ValueError(f"{where}: a scheduler cycles the momentum of this {kind}; pass {cycled}")
    known = (*NOT_HYPERPARAMETERS, *OF_SCHEDULERS, *OF_MOMENTUM_CYCLES)
    given = {name: value for name, value in group.items() if name not in known}
    if kind == "AdamW":
        given.pop("decoupled_weight_decay", None)  # What AdamW is; older versions do not save it.
    given |= changes
    strange = [name for name in given if name not in own]
    if strange:
        raise ValueError(f"{where}: {make.__name__} does not have the arguments {strange}")
    return {name: _number(value) for name, value in given.items()}


def _number(value: Any) -> Any:
    """A tensor of one element, in which PyTorch may keep a learning rate, as a number."""
    return value.item() if hasattr(value, "detach") else value
