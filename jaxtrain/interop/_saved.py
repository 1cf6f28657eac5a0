"""What PyTorch saved of an optimizer, by the names of its parameters."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from jaxtrain.interop._arrays import as_numpy

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Entries of a model's state_dict that are not parameters."""


@dataclass(frozen=True)
class Saved:
    """The state_dict of an optimizer.

    Attributes:
        numbers: the number of each parameter, by name.
        rates: its learning rate.
        states: its buffers and its step number; nothing that is None.
    """

    numbers: Mapping[str, int]
    rates: Mapping[str, float]
    states: Mapping[str, Mapping[str, np.ndarray]]

    @property
    def rate(self) -> float:
        """The learning rate of the first group."""
        return next(iter(self.rates.values()))

    @cached_property
    def fields(self) -> list[str]:
        """The names of all buffers."""
        return sorted({field for own in self.states.values() for field in own if field != "step"})


def saved_by_name(where: str, saved: Mapping[str, Any], parameters: Iterable[str] | None) -> Saved:
    """Read an optimizer's state_dict, whose parameters only have numbers."""
    if not isinstance(saved, Mapping) or {"state", "param_groups"} - saved.keys():
        got = list(saved) if isinstance(saved, Mapping) else type(saved).__name__
        raise TypeError(f"{where}: expected an optimizer's state_dict with 'state' and 'param_groups', got {got}")
    groups: Sequence[Mapping[str, Any]] = saved["param_groups"]
    numbers = [number for group in groups for number in group["params"]]
    names = _names(where, groups, parameters)
    if len(names) != len(numbers) or len(set(names)) != len(names):
        raise ValueError(f"{where}: expected {len(numbers)} different names of parameters, got {len(names)}: {names}")
    rates = [float(group["lr"]) for group in groups for _ in group["params"]]
    states = {
        name: {
            field: as_numpy(where, f"{name}.{field}", value)
            for field, value in saved["state"].get(number, {}).items()
            if value is not None
        }
        for name, number in zip(names, numbers, strict=True)
    }
    return Saved(dict(zip(names, numbers, strict=True)), dict(zip(names, rates, strict=True)), states)


def _names(where: str, groups: Sequence[Mapping[str, Any]], parameters: Iterable[str] | None) -> list[str]:
    """The names of the parameters, group after group."""
    if all("param_names" in group for group in groups):
        return [name for group in groups for name in group["param_names"]]
    if parameters is None:
        raise TypeError(
            f"{where}: give `parameters`, the names of PyTorch's parameters in the order in which the optimizer "
            "received them: [name for name, _ in model.named_parameters()], or the model's state_dict"
        )
    if isinstance(parameters, Mapping) and len(groups) > 1:
        raise ValueError(
            f"{where}: the optimizer has {len(groups)} groups, so a model's state_dict does not tell the order of its "
            "parameters; give `parameters` as a list of their names, group after group"
        )
    return [name for name in parameters if not name.endswith(STATISTICS)]
