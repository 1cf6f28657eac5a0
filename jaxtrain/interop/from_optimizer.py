"""An optimizer of this package with the hyper-parameters of PyTorch's."""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import optax

from jaxtrain import optim
from jaxtrain.interop._kinds import MAKERS, OF_MOMENTUM_CYCLES, hyperparameters


def optimizer_from_torch(
    optimizer: Any, groups: Sequence[str | None] | None = None, *, kind: str | None = None, **changes: Any
) -> optax.GradientTransformation:
    """Build the counterpart of a PyTorch optimizer, with the same hyper-parameters.

    Args:
        optimizer: an optimizer of `torch.optim`, or its `state_dict()`.
        groups: for an optimizer with several parameter groups, a regular expression for each of them, in order, as
            `optim.param_groups` takes them; None for the group of all other parameters. Default None: one group.
        kind: the name of PyTorch's class, such as "AdamW"; needed with a `state_dict`, which does not have it, and with
            a class derived from PyTorch's. Default None: the name of the object's class.
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
    given = type(optimizer).__name__
    if not isinstance(optimizer, Mapping):
        theirs = getattr(optimizer, "param_groups", ())
        kind = given if kind is None else kind
    elif {"state", "param_groups"} <= optimizer.keys():
        theirs = optimizer["param_groups"]
        if kind is None:
            raise TypeError(
                f'{where}: a state_dict does not have the name of its class; pass kind="AdamW" for instance'
            )
    else:
        given = f"a dict of {list(optimizer)[:5]}"
    if not theirs:
        raise TypeError(f"{where}: expected an optimizer of torch.optim or its state_dict, got {given}")
    make = next((own for name, own in MAKERS.items() if name.lower() == str(kind).lower()), None)
    if kind is None or make is None:
        raise TypeError(f"{where}: expected one of {', '.join(MAKERS)}, got {kind}; name the class it is with `kind`")
    if isinstance(groups, str):
        raise TypeError(f"{where}: groups must be a list with a regular expression for each group, got {groups!r}")
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
    own = signature(make).parameters
    if "initial_lr" in group and "lr" not in changes:
        raise ValueError(
            f"{where}: a scheduler drives the learning rate of this {kind}; pass it as "
            "lr=interop.schedule_from_torch(scheduler), or pass a number"
        )
    cycled = "betas" if "betas" in group else "momentum"
    if any(name in group for name in OF_MOMENTUM_CYCLES) and cycled not in changes:
        raise ValueError(f"{where}: a scheduler cycles the momentum of this {kind}; pass {cycled}")
    given = hyperparameters(group)
    if kind == "AdamW":
        given.pop("decoupled_weight_decay", None)  # What AdamW is; older versions do not save it.
    given |= changes
    strange = [name for name in given if name not in own]
    if strange:
        raise ValueError(
            f"{where}: {make.__name__} does not have the arguments {strange}; if PyTorch's {kind} does not use "
            "them either, take them out of its groups"
        )
    return {name: _number(value) for name, value in given.items()}


def _number(value: Any) -> Any:
    """A tensor of one element, in which PyTorch may keep a learning rate, as a number."""
    return value.item() if hasattr(value, "detach") else value
