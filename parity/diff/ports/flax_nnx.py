"""Ports in Flax NNX."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxtrain.interop._entries import by_name, entries
from parity.diff.ports.port import Around, Port, Slot, in_dtype

PATH = "parity_path"
"""The attribute that tells a module its path; `nnx.jit` and `nnx.scan` keep it where they make new modules."""


class NnxPort(Port):
    """An NNX module; it stays as it is."""

    def __init__(self, model: nnx.Module, dtype: str, names: Mapping[str, str] | None, as_is: Collection[str]):
        model = _cast(nnx.clone(model), dtype)
        for path, node in paths_of(model).items():
            if callable(node):
                setattr(node, PATH, path)
        self.graph, params, rest = nnx.split(model, nnx.Param, ...)
        self.params, self._params = jax.tree.flatten(params)
        self.rest, self._rest = jax.tree.flatten(rest)
        self.kinds = {type(node) for _, node in nnx.iter_modules(model)}
        numbered = self.bind(range(len(self.params)), range(len(self.params), len(self.params) + len(self.rest)))
        # Layouts depend on shapes alone through what `entries` reads from the module.
        self.slots = {
            name: [
                Slot(int(e.variable.get_value()), e.layout.to_torch, e.layout.from_torch, e.layout.part) for e in group
            ]
            for name, group in by_name(entries("diff", numbered, names, as_is)).items()
        }

    def tree(self, params: Sequence[Any]) -> Any:
        return nnx.to_pure_dict(jax.tree.unflatten(self._params, list(params)))

    def bind(self, params: Sequence[Any], rest: Sequence[Any]) -> nnx.Module:
        states = jax.tree.unflatten(self._params, list(params)), jax.tree.unflatten(self._rest, list(rest))
        return nnx.merge(self.graph, *states, copy=True)

    def after(self, model: Any, extra: Any) -> list[Any]:
        return jax.tree.leaves(nnx.state(model, nnx.Not(nnx.Param)))

    @contextmanager
    def watching(self, model: Any, around: Around) -> Iterator[None]:
        patched: list[tuple[type, Any]] = []

        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(module: Any, *args: Any, **kwargs: Any) -> Any:
                path = getattr(module, PATH, None)
                if path is None:
                    return original(module, *args, **kwargs)
                return around(path, module, lambda *a, **k: original(module, *a, **k), args, kwargs)

            return call

        for kind in self.kinds:
            if (original := getattr(kind, "__call__", None)) is not None:  # noqa: B004  # It is replaced below.
                patched.append((kind, vars(kind).get("__call__")))
                setattr(kind, "__call__", wrap(original))  # noqa: B010  # Type checkers refuse the assignment.
        try:
            yield
        finally:
            for kind, own in patched:
                if own is None:
                    del kind.__call__
                else:
                    setattr(kind, "__call__", own)  # noqa: B010


def paths_of(model: nnx.Module) -> dict[str, nnx.Module]:
    """The modules by their paths, with the layers of an `nnx.Sequential` numbered as in PyTorch."""
    sequences = {path for path, node in nnx.iter_modules(model) if isinstance(node, nnx.Sequential)}
    found = {}
    for path, node in sorted(nnx.iter_modules(model), key=lambda pair: len(pair[0])):
        parts = [str(key) for at, key in enumerate(path) if not (key == "layers" and path[:at] in sequences)]
        found.setdefault(".".join(parts), node)
    return found


def _cast(model: nnx.Module, dtype: str) -> nnx.Module:
    """The module with float64 in place of float32, if that is asked for."""
    if dtype == "float64":
        for _, node in nnx.iter_modules(model):
            for name in ("dtype", "param_dtype"):
                given = getattr(node, name, None)
                if given is not None and not isinstance(given, np.ndarray) and jnp.dtype(given) == jnp.float32:
                    setattr(node, name, jnp.float64)
        for _, variable in nnx.iter_graph(model):
            if isinstance(variable, nnx.Variable) and not isinstance(variable, nnx.RngState):
                variable.set_value(in_dtype(variable.get_value(), dtype))
    return model
