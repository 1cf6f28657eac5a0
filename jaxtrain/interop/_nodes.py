"""The states of single optimizers inside the state of a chain or of groups, and how they are filled."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrain.interop import _buffers
from jaxtrain.interop._entries import Entry
from jaxtrain.interop._saved import Saved
from jaxtrain.optim._state import buffer_names, is_ours, scalar_names


def nodes_of(opt_state: Any) -> list[Any]:
    """The states of this package's element-wise optimizers in a state."""
    return [node for node in jax.tree.leaves(opt_state, is_leaf=is_ours) if is_ours(node)]


def leaves_of(tree: Any) -> dict[str, Any]:
    """The leaves of a tree of buffers by their paths; None where a parameter lacks the buffer."""
    flat = jax.tree.leaves_with_path(tree, is_leaf=lambda node: node is None)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat if path}


def paths_of(node: Any) -> list[str]:
    """The paths of the parameters of a state, in its order; none for a state without buffers."""
    trees = [getattr(node, field) for field in buffer_names(type(node))]
    return next((list(leaves_of(tree)) for tree in trees if tree is not None), [])


def filled(node: Any, known: Mapping[str, Entry], saved: Saved, count: int, problems: list[str]) -> Any:
    """The state of an optimizer with PyTorch's buffers and numbers; what does not fit is added to `problems`."""
    paths = paths_of(node)
    trees = {field: leaves_of(getattr(node, field)) for field in buffer_names(type(node))}
    names = scalar_names(type(node))
    numbers: dict[str, list[Any]] = {name: [] for name in ("step", *names)}
    for index, path in enumerate(paths):
        entry = known[path]
        if entry.name not in saved.rates:
            problems.append(f"{entry.name}: is not among the optimizer's parameters")
        own = saved.states.get(entry.name, {})
        moments = {field: value for field, value in own.items() if field not in numbers}
        if moments:
            old = {field: leaves[path] for field, leaves in trees.items() if leaves.get(path) is not None}
            for field, value in _buffers.from_torch(entry, moments, old, problems):
                trees[field][path] = value
        numbers["step"].append(int(own.get("step", count)) if moments else 0)
        for name in names:
            first = np.broadcast_to(np.asarray(getattr(node, name)), len(paths))[index]
            numbers[name].append(float(own[name] if moments else first))
    if not paths:
        numbers["step"].append(count)
    rate = next((saved.rates[known[path].name] for path in paths if known[path].name in saved.rates), saved.rate)
    return node._replace(
        count=jnp.asarray(count, jnp.int32),
        lr=jnp.asarray(rate, node.lr.dtype),
        **_shared_or_separate(node, numbers),
        **{field: _like(getattr(node, field), leaves) for field, leaves in trees.items()},
    )


def _shared_or_separate(node: Any, numbers: Mapping[str, list[Any]]) -> dict[str, jax.Array]:
    """One number where all parameters have the same, as long as the state has not counted them separately."""
    shared = np.ndim(node.step) == 0 and all(len(set(values)) <= 1 for values in numbers.values())
    return {
        name: jnp.asarray(values[0] if shared else values, getattr(node, name).dtype)
        for name, values in numbers.items()
        if values
    }


def _like(tree: Any, leaves: Mapping[str, Any]) -> Any:
    """The tree with other leaves."""
    structure = jax.tree.structure(tree, is_leaf=lambda leaf: leaf is None)
    return jax.tree.unflatten(structure, list(leaves.values())) if leaves else tree
