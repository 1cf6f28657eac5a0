"""The paths of leaves, such as `encoder/0/kernel`, and which leaves are parameters."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jax.tree_util import keystr
from jaxtyping import PyTree


def named_leaves(tree: PyTree, is_leaf: Callable[[Any], bool] | None = None) -> dict[str, Any]:
    """The leaves of a tree by their paths, `params/body/kernel` for instance."""
    leaves = jax.tree.leaves_with_path(tree, is_leaf=is_leaf)
    return {keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def map_with_path(function: Callable[[str, Any], Any], tree: PyTree) -> PyTree:
    """`tree` with `function(path, leaf)` for every leaf. The path ends with the name of an NNX variable."""

    def at(path: tuple[Any, ...], node: Any) -> Any:
        name = keystr(path, simple=True, separator="/")
        return jax.tree.map(lambda leaf: function(name, leaf), node)

    return jax.tree_util.tree_map_with_path(at, tree, is_leaf=_is_variable)


def is_parameter(tree: PyTree) -> PyTree[bool]:
    """For every leaf of `tree`, whether it is a parameter that did not come before.

    NNX variables that are not an `nnx.Param`, such as running statistics, are not. A variable comes twice where layers
    share it.
    """
    seen = set()

    def mark(node: Any) -> Any:
        new = not _is_variable(node) or (isinstance(node, nnx.Param) and id(node) not in seen)
        if _is_variable(node):
            seen.add(id(node))
        return jax.tree.map(lambda _: new, node)

    return jax.tree.map(mark, tree, is_leaf=_is_variable)


def _is_variable(node: Any) -> bool:
    return isinstance(node, nnx.Variable)
