"""The saved state of a PyTorch optimizer, by the names of its parameters."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from jaxtrain.interop._arrays import as_numpy
from jaxtrain.interop._entries import Entry
from jaxtrain.interop._patterns import prefix_of

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Ends of the names in a model's state_dict that are not parameters, also in a list of its names."""
MOST = 2**31 - 1
"""The largest number of steps here."""
WAY_OUT = "[name for name, parameter in model.named_parameters()], without those that its optimizer does not have"


@dataclass(frozen=True)
class Saved:
    """The state_dict of an optimizer.

    Attributes:
        numbers: the number of each parameter, by name.
        groups: its group.
        states: its buffers and its step number; nothing that is None.
    """

    numbers: Mapping[str, Any]
    groups: Mapping[str, Mapping[str, Any]]
    states: Mapping[str, Mapping[str, np.ndarray]]

    def groups_of(self, names: Iterable[str]) -> list[Mapping[str, Any]]:
        """The groups of some parameters, each once, in their order; all groups if there are none."""
        known = [name for name in names if name in self.groups]
        found = {id(self.groups[name]): self.groups[name] for name in known or self.groups}
        return list(found.values())

    @cached_property
    def fields(self) -> list[str]:
        """The names of all buffers."""
        return sorted({field for own in self.states.values() for field in own if field != "step"})


def saved_by_name(where: str, saved: Any, parameters: Any, trained: Iterable[Entry]) -> Saved:
    """Read an optimizer's state_dict, which only numbers its parameters.

    Args:
        where: the function, for messages.
        saved: the state_dict.
        parameters: names of its parameters in order, or the model's state_dict.
        trained: our parameters, which tell the parameters in the model's state_dict.
    """
    groups = _groups(where, saved)
    numbers = [number for group in groups for number in group["params"]]
    names = _names(where, groups, parameters, list(trained))
    if len(names) != len(numbers) or len(set(names)) != len(names):
        raise ValueError(
            f"{where}: expected {len(numbers)} different names of parameters, got {len(names)}: {names}; pass {WAY_OUT}"
        )
    strange = [number for number in saved["state"] if number not in numbers]
    if strange:
        raise ValueError(
            f"{where}: expected the keys of 'state' among the parameters {numbers} of the groups, got {strange}; if a "
            "file of JSON turned numbers into text, convert the keys with int"
        )
    by_number = [group for group in groups for _ in group["params"]]
    states = {
        name: {
            field: as_numpy(where, f"{name}.{field}", value)
            for field, value in saved["state"].get(number, {}).items()
            if value is not None
        }
        for name, number in zip(names, numbers, strict=True)
    }
    for name, own in states.items():
        _check_step(where, name, own)
    return Saved(dict(zip(names, numbers, strict=True)), dict(zip(names, by_number, strict=True)), states)


def by_path(own: Iterable[Entry], saved: Saved) -> dict[str, Entry]:
    """The parameters by path. A shared one has several names; it comes with the one that PyTorch's optimizer knows."""
    own = list(own)
    theirs = {id(entry.variable): entry for entry in own if entry.name in saved.numbers}
    return {entry.path: theirs.get(id(entry.variable), entry) for entry in own}


def merged(where: str, saved: Any, parameters: Any) -> tuple[Any, Any]:
    """The state_dicts of several optimizers, each with some of the parameters, as that of one, and all names."""
    if not isinstance(saved, list | tuple):
        return saved, parameters
    for own in saved:
        _groups(where, own)
    if parameters is not None and (
        not isinstance(parameters, list | tuple)
        or len(parameters) != len(saved)
        or not all(isinstance(names, list | tuple) for names in parameters)
    ):
        raise TypeError(f"{where}: expected a list of names for each of the {len(saved)} optimizers, got {parameters}")
    whole = {
        "state": {(index, number): own for index, one in enumerate(saved) for number, own in one["state"].items()},
        "param_groups": [
            {**group, "params": [(index, number) for number in group["params"]]}
            for index, one in enumerate(saved)
            for group in one["param_groups"]
        ],
    }
    return whole, parameters and [name for names in parameters for name in names]


def _groups(where: str, saved: Any) -> Sequence[Mapping[str, Any]]:
    expected = f"{where}: expected an optimizer's state_dict with 'state' and 'param_groups', got"
    if hasattr(saved, "state_dict"):
        raise TypeError(f"{expected} {type(saved).__name__}; pass its .state_dict()")
    if not isinstance(saved, Mapping) or {"state", "param_groups"} - saved.keys():
        got = f"a dict of {list(saved)[:5]}" if isinstance(saved, Mapping) else type(saved).__name__
        raise TypeError(f"{expected} {got}")
    groups, states = saved["param_groups"], saved["state"]
    if not isinstance(states, Mapping) or not all(isinstance(own, Mapping) for own in states.values()):
        raise TypeError(f"{where}: expected a dict of dicts at 'state', got {states!r:.200}")
    if not isinstance(groups, list | tuple) or not all(
        isinstance(group, Mapping) and {"params", "lr"} <= group.keys() for group in groups
    ):
        raise TypeError(
            f"{where}: expected a list of dicts with 'params' and 'lr' at 'param_groups', got {groups!r:.200}"
        )
    if not any(group["params"] for group in groups):
        raise ValueError(f"{where}: expected groups with parameters, got {groups}")
    return groups


def _check_step(where: str, name: str, own: Mapping[str, np.ndarray]) -> None:
    """Raise unless the number of steps, if there is one, is a whole number that our state can hold."""
    step = own.get("step")
    if step is not None and not all(float(value).is_integer() and 0 <= value <= MOST for value in step.ravel()):
        raise ValueError(f"{where}: expected a whole number of steps from 0 to {MOST} at '{name}.step', got {step}")


def _names(where: str, groups: Sequence[Mapping[str, Any]], parameters: Any, trained: Sequence[Entry]) -> list[str]:
    """The names of the parameters, group after group."""
    saved = [name for group in groups for name in group.get("param_names", group["params"])]
    known = all(isinstance(name, str) for name in saved)
    if known and (parameters is None or isinstance(parameters, Mapping)):
        return saved
    if parameters is None:
        raise TypeError(
            f"{where}: give `parameters`, the names of PyTorch's parameters in the order in which the optimizer "
            f"received them: {WAY_OUT}, or the model's state_dict"
        )
    if isinstance(parameters, Mapping):
        return _parameters_of_model(where, len(groups), parameters, trained)
    names = [parameters] if isinstance(parameters, str) or not isinstance(parameters, Iterable) else list(parameters)
    strange = [type(name).__name__ for name in names if not isinstance(name, str)]
    if strange or isinstance(parameters, str):
        got = strange[0] if strange else repr(parameters)
        raise TypeError(f"{where}: parameters must be a list of names, got {got}; pass {WAY_OUT}")
    if known and names != saved and sorted(names) == sorted(saved):
        raise ValueError(f"{where}: PyTorch saved another order of the parameters, {saved}; leave out `parameters`")
    return [name for name in names if not name.endswith(STATISTICS)]


def _parameters_of_model(where: str, groups: int, state_dict: Mapping[str, Any], trained: Sequence[Entry]) -> list[str]:
    """The names of the parameters in a model's state_dict, each once, in its order."""
    if groups > 1:
        raise ValueError(
            f"{where}: the optimizer has {groups} groups, so a model's state_dict does not tell the order of its "
            "parameters; give `parameters` as a list of their names, group after group"
        )
    variables = {entry.name: id(entry.variable) for entry in trained}
    if prefix := prefix_of(list(variables), state_dict):
        raise ValueError(f"{where}: PyTorch's names begin with {prefix!r}: pass names={{'^': {prefix!r}}}")
    first: dict[Any, str] = {}
    for name in state_dict:
        if name in variables:
            # The parts of a packed projection are different variables of one name.
            first.setdefault(variables[name], name)
    order = {name: place for place, name in enumerate(first.values())}
    pairs = [(name, f"{name.removesuffix('weight')}bias") for name in order if name.endswith("weight")]
    both = [pair for pair in pairs if pair[1] in order]
    if both and all(order[bias] < order[weight] for weight, bias in both):
        raise ValueError(
            f"{where}: the names are sorted, as by safetensors or jax.tree.map, not in the order of the model's "
            "parameters; give `parameters` as a list of their names in that order"
        )
    return list(first.values())
