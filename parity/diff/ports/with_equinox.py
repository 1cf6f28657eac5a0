"""Ports in Equinox."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import equinox as eqx
import jax
import numpy as np

from parity.diff.ports.port import Around, Port, Slot, in_dtype
from parity.diff.ports.tree_names import slots_of

PATH = "parity_path"

_watching: list[Around] = []
_kinds: dict[type, type] = {}


class EquinoxPort(Port):
    """An Equinox module, perhaps with its state.

    Equinox's models take one example. Without a loss, `jax.vmap` maps them over the batch; a loss does so itself. With
    a state, the loss is called with (model, state) and returns its value and the new state.
    """

    def __init__(
        self,
        model: Any,
        state: Any,
        dtype: str,
        names: Mapping[str, str] | None,
        as_is: Collection[str],
        known: Collection[str],
    ):
        self.has_state = state is not None
        self.interruptible = not self.has_state
        model, state = in_dtype(model, dtype), in_dtype(state, dtype)
        self.tapped = _tapped(model, "")
        trained, self._static = eqx.partition(model, eqx.is_inexact_array)
        with_paths, self._params = jax.tree.flatten_with_path(trained)
        self.params = [leaf for _, leaf in with_paths]
        self.rest, self._rest = jax.tree.flatten(state)
        paths = [_path(model, path) for path, _ in with_paths]
        paths += [("state", str(index)) for index in range(len(self.rest))]
        shapes = [getattr(leaf, "shape", ()) for leaf in (*self.params, *self.rest)]
        self.slots = slots_of(paths, shapes, names, as_is, known, flax=False)
        turned = {at for at, (path, _) in enumerate(with_paths) if _is_transposed_kernel(model, path)}
        for name, slots in self.slots.items():
            if not any(re.search(pattern, name) for pattern in as_is):
                self.slots[name] = [Slot(s.at, _turned, _turned) if s.at in turned else s for s in slots]

    def tree(self, params: Sequence[Any]) -> Any:
        return jax.tree.unflatten(self._params, list(params))

    def bind(self, params: Sequence[Any], rest: Sequence[Any]) -> Any:
        # Modules that know their paths have the same leaves in the same order.
        leaves, structure = jax.tree.flatten(self.tapped)
        left = iter(params)
        model = jax.tree.unflatten(structure, [next(left) if eqx.is_inexact_array(leaf) else leaf for leaf in leaves])
        return (model, jax.tree.unflatten(self._rest, list(rest))) if self.has_state else model

    def after(self, model: Any, extra: Any) -> list[Any]:
        if self.has_state and extra is None:
            raise ValueError("diff: expected the loss to return its value and the new state, got the value alone")
        return jax.tree.leaves(extra) if self.has_state else []

    def on_batch(self, model: Any, *batch: Any) -> Any:
        if self.has_state:
            raise ValueError("diff: expected a loss for an Equinox model with a state, got none; pass loss=")
        return jax.vmap(model)(*batch)

    @contextmanager
    def watching(self, model: Any, around: Around) -> Iterator[None]:
        _watching.append(around)
        try:
            yield
        finally:
            _watching.pop()


def _is_transposed_kernel(model: Any, keys: Any) -> bool:
    """Whether a leaf is the kernel of a transposed convolution, which Equinox stores as that of a convolution."""
    owner = model
    for key in keys[:-1]:
        name = _key(key)
        owner = getattr(owner, name) if isinstance(owner, eqx.Module) else owner[getattr(key, "idx", name)]
    return isinstance(owner, eqx.nn.ConvTranspose) and owner.groups == 1 and _key(keys[-1]) == "weight"


def _turned(kernel: np.ndarray) -> np.ndarray:
    """Input and output channels change places, and the kernel is flipped; this is its own inverse."""
    return np.flip(np.swapaxes(kernel, 0, 1), tuple(range(2, kernel.ndim)))


def _tapped(node: Any, path: str) -> Any:
    """The model with every callable module in it made one that knows its path."""
    if not isinstance(node, eqx.Module):
        leaves, structure = jax.tree.flatten_with_path(node, is_leaf=lambda leaf: isinstance(leaf, eqx.Module))
        return jax.tree.unflatten(
            structure,
            [
                _tapped(leaf, ".".join([*([path] if path else []), *(_key(key) for key in keys)]))
                if isinstance(leaf, eqx.Module)
                else leaf
                for keys, leaf in leaves
            ],
        )
    kind = _kind(type(node)) if callable(node) else type(node)
    made = object.__new__(kind)
    for name, value in vars(node).items():
        inner = path if isinstance(node, eqx.nn.Sequential) and name == "layers" else f"{path}.{name}".lstrip(".")
        static = any(f.name == name and f.metadata.get("static") for f in node.__dataclass_fields__.values())
        object.__setattr__(made, name, value if static else _tapped(value, inner))
    if callable(node):
        object.__setattr__(made, PATH, path)
    return made


def _kind(kind: type) -> type:
    """A subclass whose modules know their paths, and whose calls are watched."""
    if kind not in _kinds:

        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            def original(*args: Any, **kwargs: Any) -> Any:
                return kind.__call__(self, *args, **kwargs)

            path = getattr(self, PATH)
            return _watching[-1](path, self, original, args, kwargs) if _watching else original(*args, **kwargs)

        content: dict[str, Any] = {
            "__annotations__": {PATH: str},
            PATH: eqx.field(static=True, default="", kw_only=True),
            "__call__": call,
            "__init__": kind.__init__,
            "__module__": kind.__module__,
            "__qualname__": kind.__qualname__,
        }
        _kinds[kind] = type(kind)(kind.__name__, (kind,), content)
    return _kinds[kind]


def _path(model: Any, keys: Any) -> tuple[str, ...]:
    """The path of a leaf, with the layers of a `Sequential` numbered as in PyTorch."""
    found, node = [], model
    for key in keys:
        name = _key(key)
        if not (isinstance(node, eqx.nn.Sequential) and name == "layers"):
            found.append(name)
        node = (
            getattr(node, name) if isinstance(node, eqx.Module) else node[getattr(key, "idx", getattr(key, "key", 0))]
        )
    return tuple(found)


def _key(key: Any) -> str:
    return str(getattr(key, "name", getattr(key, "idx", getattr(key, "key", key))))
