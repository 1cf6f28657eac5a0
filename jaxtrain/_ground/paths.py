"""Which leaves of a tree are parameters, and their names: their place in it, as in `encoder/0/kernel`."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jax.tree_util import keystr
from jaxtyping import PyTree


def map_with_path(function: Callable[[str, Any], Any], tree: PyTree) -> PyTree:
    """`tree` with `function(path, leaf)` for every leaf, where an NNX variable is named, not the value in it."""

    def at(path: tuple[Any, ...], node: Any) -> Any:
        name = keystr(path, simple=True, separator="/")
        return jax.tree.map(lambda leaf: function(name, leaf), node)

    return jax.tree_util.tree_map_with_path(at, tree, is_leaf=_is_variable)


def parameters_only(tree: PyTree) -> PyTree:
    """`tree` with None in place of NNX variables that are no parameters, such as running statistics."""

    def keep(node: Any) -> Any:
        return None if _is_variable(node) and not isinstance(node, nnx.Param) else node

    return jax.tree.map(keep, tree, is_leaf=_is_variable)


def _is_variable(node: Any) -> bool:
    return isinstance(node, nnx.Variable)
