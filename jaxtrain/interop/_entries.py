"""The variables of a module, and their names in PyTorch."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxtrain.interop._patterns import any_matches, check_used, patterns
from jaxtrain.interop.layouts import Layout, layouts_of
from jaxtrain.train.state import TrainState


@dataclass(frozen=True)
class Entry:
    """A variable of a module.

    Attributes:
        path: its path in the module, such as `layers/0/kernel`.
        name: its name in PyTorch, such as `0.weight`.
        layout: how PyTorch stores it.
        variable: the NNX variable.
    """

    path: str
    name: str
    layout: Layout
    variable: nnx.Variable

    def shape(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of PyTorch's whole array, from the shape of ours."""
        shape = self.layout.to_torch(np.empty(ours)).shape
        return (shape[0] * self.layout.part[1], *shape[1:]) if self.layout.part else shape

    def from_torch(self, array: np.ndarray) -> np.ndarray:
        """PyTorch's array, or this variable's part of it, in our layout."""
        if self.layout.part:
            index, count = self.layout.part
            array = np.split(array, count)[index]
        return self.layout.from_torch(array)


def entries(where: str, module: nnx.Module, names: Mapping[str, str] | None, as_is: Collection[str]) -> list[Entry]:
    """The variables of a module, without those of random streams; a shared one comes under each of its paths."""
    walked = list(_walk(module, "", ""))
    renamed = _renamed(where, [entry.name for entry in walked], {} if names is None else names)
    kept = patterns(where, "as_is", as_is)
    check_used(where, "as_is", kept, renamed)
    found = [
        replace(entry, name=name, layout=Layout(entry.layout.name) if any_matches(kept, name) else entry.layout)
        for entry, name in zip(walked, renamed, strict=True)
    ]
    _check_different(where, found)
    return found


def by_name(found: Iterable[Entry]) -> dict[str, list[Entry]]:
    """The variables by PyTorch's name: one, or several that are parts of one array. A name has each variable once."""
    groups: dict[str, dict[int, Entry]] = {}
    for entry in found:
        groups.setdefault(entry.name, {}).setdefault(id(entry.variable), entry)
    return {name: list(group.values()) for name, group in groups.items()}


def module_of(where: str, state: TrainState) -> nnx.Module:
    """The module of a train state, with copies of its values."""
    if any(leaf.is_deleted() for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array)):
        raise ValueError(f"{where}: the train state was consumed by a step; pass the state that the step returned")
    return state.model()


def packed(where: str, name: str, group: list[Entry], arrays: list[np.ndarray]) -> np.ndarray:
    """PyTorch's array under `name`, made of our arrays: one, or several that are equal parts of it."""
    stored = [entry.layout.to_torch(array) for entry, array in zip(group, arrays, strict=True)]
    parts = [entry.layout.part for entry in group]
    if parts == [None]:
        return stored[0].copy(order="C")
    by_part = dict(zip(parts, stored, strict=True))
    if len(by_part) < len(parts) or by_part.keys() != {(index, len(parts)) for index in range(len(parts))}:
        paths = [entry.path for entry in group]
        raise ValueError(f"{where}: expected all parts of {name!r}, which is one array in PyTorch, got only {paths}")
    return np.concatenate([by_part[index, len(parts)] for index in range(len(parts))])


def _walk(node: Any, path: str, name: str) -> Iterator[Entry]:
    layouts = layouts_of(node) if isinstance(node, nnx.Module) else {}
    yield from _variables(node, path, name, "", layouts)


def _variables(node: Any, path: str, name: str, inside: str, layouts: Mapping[str, Layout]) -> Iterator[Entry]:
    """The variables below `node`, which lies at `inside` of the layer with these layouts."""
    for key, child in _children(node):
        below, local = f"{path}{key}", f"{inside}{key}"
        if isinstance(child, nnx.RngState | nnx.OptState | nnx.Intermediate):
            continue
        if isinstance(child, nnx.Variable):
            layout = layouts.get(local) or Layout(local)
            yield Entry(below, name + layout.name, layout, child)
        elif any(known.startswith(f"{local}.") for known in layouts):
            yield from _variables(child, f"{below}/", name, f"{local}.", layouts)
        else:
            # PyTorch's `Sequential` is itself the list of its layers.
            own = "" if isinstance(node, nnx.Sequential) and key == "layers" else f"{key}."
            yield from _walk(child, f"{below}/", f"{name}{own}")


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        yield from ((str(key), child) for key, child in node.items())
    elif isinstance(node, list | tuple | nnx.List):
        yield from ((str(index), child) for index, child in enumerate(node))
    elif isinstance(node, nnx.Pytree):
        yield from ((key, child) for key, child in vars(node).items() if not key.startswith("_pytree__"))


def _renamed(where: str, own: list[str], rules: Any) -> list[str]:
    """PyTorch's names from ours, with one rule after the other."""
    if not isinstance(rules, Mapping) or not all(isinstance(new, str) for new in rules.values()):
        raise TypeError(f"{where}: names must be a dict from regular expressions to text, got {rules!r}")
    for pattern, new in zip(patterns(where, "names", list(rules)), rules.values(), strict=True):
        check_used(where, "names", [pattern], own)
        try:
            own = [pattern.sub(new, name) for name in own]
        except (re.error, IndexError) as error:
            raise ValueError(f"{where}: names cannot put {new!r} in place of {pattern.pattern!r}: {error}") from None
    return own


def _check_different(where: str, found: Iterable[Entry]) -> None:
    """Raise if variables that are not parts of one array have one name."""
    for name, group in by_name(found).items():
        parts = [entry.layout.part for entry in group]
        if len(parts) > 1 and (None in parts or len(set(parts)) < len(parts)):
            paths = [entry.path for entry in group]
            raise ValueError(
                f"{where}: the variables {paths} have the same name {name!r}; correct `names`, or share one variable "
                "where PyTorch's weights are tied"
            )
