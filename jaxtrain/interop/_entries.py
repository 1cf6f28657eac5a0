"""The variables of a module, and their names in PyTorch."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flax import nnx

from jaxtrain.interop.layouts import Layout, layouts_of


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
        """The shape of PyTorch's array, all parts of it together, from that of ours."""
        shape = self.layout.to_torch(np.empty(ours)).shape
        return (shape[0] * self.layout.part[1], *shape[1:]) if self.layout.part else shape

    def from_torch(self, array: np.ndarray) -> np.ndarray:
        """PyTorch's array, or its part of it, in our layout."""
        if self.layout.part:
            index, count = self.layout.part
            array = np.split(array, count)[index]
        return self.layout.from_torch(array)


def entries(where: str, module: nnx.Module, names: Mapping[str, str] | None, as_is: Collection[str]) -> list[Entry]:
    """The variables of a module, without those of random streams; a shared one comes under each of its paths."""
    rules = [(_pattern(where, "names", pattern), put) for pattern, put in (names or {}).items()]
    kept = [_pattern(where, "as_is", pattern) for pattern in as_is]
    found = []
    for entry in _walk(module, "", ""):
        name = entry.name
        for pattern, replacement in rules:
            name = pattern.sub(replacement, name)
        layout = Layout(entry.layout.name) if any(pattern.search(name) for pattern in kept) else entry.layout
        found.append(replace(entry, name=name, layout=layout))
    return found


def packed(where: str, name: str, group: list[Entry], arrays: list[np.ndarray]) -> np.ndarray:
    """PyTorch's array under `name`, from our arrays: one, or its equal parts."""
    stored = [entry.layout.to_torch(array) for entry, array in zip(group, arrays, strict=True)]
    parts = [entry.layout.part for entry in group]
    if parts == [None]:
        return stored[0].copy(order="C")
    by_part = dict(zip(parts, stored, strict=True))
    if len(by_part) < len(parts) or by_part.keys() != {(index, len(parts)) for index in range(len(parts))}:
        raise ValueError(f"{where}: {[entry.path for entry in group]} have the same name {name!r}; mend `names`")
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


def _pattern(where: str, argument: str, pattern: Any) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"{where}: {argument} must hold regular expressions, got {pattern!r}: {error}") from None
