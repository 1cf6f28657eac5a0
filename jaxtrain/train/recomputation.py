"""Modules that compute their activations again in the backward pass instead of keeping them."""

import functools
import re
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

Path = tuple[Any, ...]


def recomputing(model: nnx.Module, pattern: str) -> nnx.Module:
    """`model`, changed in place: the calls of the modules whose paths match keep their arguments only."""
    for _, module in _matching(model, pattern):
        module.__class__ = _recomputing(type(module))
    return model


def check_remat(where: str, model: nnx.Module, pattern: str | None) -> None:
    """Raise unless `pattern` is None or matches the path of a module that can be called."""
    try:
        found = pattern is None or _matching(model, pattern)
    except (re.error, TypeError):
        raise ValueError(f"{where}: expected remat to be a regular expression, got {pattern!r}") from None
    if not found:
        paths = ", ".join(sorted(_name(path) for path, _ in _callable(model) if path))
        raise ValueError(f"{where}: expected remat to match a module, got {pattern!r}; there are {paths}")


def _matching(model: nnx.Module, pattern: str) -> list[tuple[Path, Any]]:
    """The modules that match, but not the parts of one that does: they would be computed a third time."""
    found = [(path, module) for path, module in _callable(model) if path and re.search(pattern, _name(path))]
    paths = {path for path, _ in found}
    return [(path, module) for path, module in found if not any(path[:end] in paths for end in range(1, len(path)))]


def _callable(model: nnx.Module) -> list[tuple[Path, Any]]:
    return [(path, module) for path, module in nnx.iter_modules(model) if callable(module)]


def _name(path: Path) -> str:
    return "/".join(map(str, path))


@functools.lru_cache(maxsize=64)
def _recomputing(kind: type[nnx.Module]) -> type[nnx.Module]:
    """A subclass of a module's class whose calls are computed again in the backward pass."""
    original: Any = kind.__call__

    @functools.wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        leaves, structure = jax.tree.flatten((args, kwargs), is_leaf=_is_object)
        traced = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array) or _is_object(leaf)}

        def again(module: Any, traced: dict[int, Any]) -> Any:
            # A flag or a string decides how the module computes, and is not traced.
            args, kwargs = jax.tree.unflatten(structure, [traced.get(i, leaf) for i, leaf in enumerate(leaves)])
            return original(module, *args, **kwargs)

        remat: Callable[..., Any] = nnx.remat(again)
        return remat(self, traced)

    return type(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__, "__doc__": kind.__doc__})


def _is_object(leaf: Any) -> bool:
    return isinstance(leaf, nnx.Pytree)
