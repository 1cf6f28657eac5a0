"""Find the states of single optimizers inside the state of a chain or of groups, and fill them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxtrain._ground.paths import named_leaves
from jaxtrain.interop import _buffers
from jaxtrain.interop._entries import Entry
from jaxtrain.interop._kinds import foreign
from jaxtrain.interop._lbfgs import is_state as is_lbfgs
from jaxtrain.interop._saved import Saved
from jaxtrain.optim._state import buffer_names, is_ours, scalar_names

WHOLE_STEP = ("SparseAdamState",)
"""States whose optimizers keep the number of steps as a Python int in PyTorch."""

WITHOUT_STEP = ("SGDState", "MuonState")
"""States whose optimizers keep no number of steps in PyTorch."""


def replaced(tree: Any, count: int, fill: Callable[[Any], Any]) -> Any:
    """The tree with `fill` applied to each state of this package, and Optax's counts of updates set to `count`."""

    def new(node: Any) -> Any:
        if is_ours(node):
            return fill(node)
        if _counts(node):
            parts = {name: replaced(part, count, fill) for name, part in node._asdict().items()}
            counted = {name: jnp.asarray(count, jnp.int32) for name in ("count", "gradient_step") if name in parts}
            return node._replace(**parts | counted)
        return node

    return jax.tree.map(new, tree, is_leaf=lambda node: is_ours(node) or _counts(node))


def with_count(tree: Any, count: int) -> Any:
    """The tree with every count that schedules see set to `count`, and everything else as it is."""

    def counted(node: Any) -> Any:
        return node._replace(count=jnp.asarray(count, jnp.int32))

    tree = jax.tree.map(lambda node: counted(node) if is_lbfgs(node) else node, tree, is_leaf=is_lbfgs)
    return replaced(tree, count, counted)


def counted(tree: Any) -> bool:
    """Whether a state has counts of updates that schedules see."""
    nodes = jax.tree.leaves(tree, is_leaf=_keeps_count)
    return any(_keeps_count(node) for node in nodes)


def _keeps_count(node: Any) -> bool:
    return is_lbfgs(node) or is_ours(node) or _counts(node)


def _counts(node: Any) -> bool:
    """Whether a node of a tree is a state of Optax that counts updates, for schedules, and keeps no moments."""
    wrappers = (optax.InjectHyperparamsState, optax.InjectStatefulHyperparamsState, optax.MultiStepsState)
    return isinstance(node, wrappers) or getattr(node, "_fields", ()) == ("count",)


def nodes_of(opt_state: Any) -> list[Any]:
    """The states of this package's element-wise optimizers in a state."""
    return [node for node in jax.tree.leaves(opt_state, is_leaf=is_ours) if is_ours(node)]


def leaves_of(tree: Any) -> dict[str, Any]:
    """The leaves of a tree of buffers by their paths; None where a parameter lacks the buffer."""
    return {} if tree is None else named_leaves(tree, is_leaf=lambda node: node is None)


def paths_of(node: Any) -> list[str]:
    """The paths of the parameters of a state, in its order; none for a state without buffers."""
    trees = [getattr(node, field) for field in buffer_names(type(node))]
    return next((list(leaves_of(tree)) for tree in trees if tree is not None), [])


def filled(node: Any, known: Mapping[str, Entry], saved: Saved, count: int, problems: list[str]) -> Any:
    """The state of an optimizer with PyTorch's buffers and numbers; what does not fit is added to `problems`."""
    paths = paths_of(node)
    if wrong := foreign(node, saved.groups_of(known[path].name for path in paths)):
        problems.append(wrong)
        return node
    trees = {field: leaves_of(getattr(node, field)) for field in buffer_names(type(node))}
    names = scalar_names(type(node))
    numbers: dict[str, list[Any]] = {name: [] for name in ("step", *names)}
    for index, path in enumerate(paths):
        entry = known[path]
        if entry.name not in saved.groups:
            problems.append(f"{entry.name}: is not among the optimizer's parameters; freeze it here, too")
        own = saved.states.get(entry.name, {})
        old = {field: leaves[path] for field, leaves in trees.items() if leaves.get(path) is not None}
        first = {name: np.broadcast_to(np.asarray(getattr(node, name)), len(paths))[index] for name in names}
        begun = own.keys() - numbers.keys() and _has_all(entry.name, own, {*old, *names}, node, count, problems)
        if begun:
            buffers = {field: own[field] for field in own if field not in numbers}
            for field, value in _buffers.from_torch(entry, buffers, old, problems):
                trees[field][path] = value
        now = {"step": np.asarray(count), **own} if begun else {"step": np.asarray(0), **first}
        for name, values in numbers.items():
            values.append(_number(entry.name, name, now[name], problems))
    if not paths:
        numbers["step"].append(count)
    rate = float(saved.groups_of(known[path].name for path in paths)[0]["lr"])
    return node._replace(
        count=jnp.asarray(count, jnp.int32),
        lr=jnp.asarray(rate, node.lr.dtype),
        **_shared_or_separate(node, numbers),
        **{field: _like(getattr(node, field), leaves) for field, leaves in trees.items()},
    )


def states_of(where: str, nodes: Iterable[Any], known: Mapping[str, Entry]) -> dict[str, dict[str, Any]]:
    """What PyTorch keeps for each parameter that has been updated, by name."""
    buffers: dict[str, dict[str, list[tuple[Entry, np.ndarray]]]] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for node in nodes:
        for field in buffer_names(type(node)):
            for path, leaf in leaves_of(getattr(node, field)).items():
                if leaf is not None:
                    parts = buffers.setdefault(known[path].name, {}).setdefault(field, [])
                    parts.append((known[path], np.asarray(leaf)))
        numbers |= {known[path].name: own for path, own in _numbers_of(node).items()}
    return {name: own | _buffers.to_torch(where, name, buffers[name]) for name, own in numbers.items()}


def _numbers_of(node: Any) -> dict[str, dict[str, Any]]:
    """The step number, as PyTorch keeps it, and the other numbers of each parameter that has been updated, by path."""
    paths, kind = paths_of(node), type(node).__name__
    names = ("step", *scalar_names(type(node)))
    scalars = {name: np.broadcast_to(np.asarray(getattr(node, name)), len(paths)) for name in names}
    found = {}
    for index, path in enumerate(paths):
        own = {name: values[index].copy() for name, values in scalars.items()}
        steps = own.pop("step")
        if kind not in WITHOUT_STEP:
            own["step"] = int(steps) if kind in WHOLE_STEP else steps.astype(np.float32)
        if steps:
            found[path] = own
    return found


def _has_all(name: str, own: Mapping[str, Any], expected: set[str], node: Any, count: int, problems: list[str]) -> bool:
    """Whether PyTorch saved what the optimizer here needs for a parameter; what is missing is added to `problems`."""
    got = own.keys() - {"step"}
    if got != expected:
        problems.append(f"{name}: expected the buffers {sorted(expected)}, got {sorted(got)}: give the same options")
    elif "step" not in own and type(node).__name__ not in WITHOUT_STEP:
        problems.append(f"{name}: expected the number of its steps under 'step', got none")
    elif "step" not in own and count == 0:
        problems.append(f"{name}: has made steps, so `count` must be at least 1, got 0")
    else:
        return True
    return False


def _number(name: str, field: str, value: np.ndarray, problems: list[str]) -> float:
    """A number that PyTorch may have saved as an array of one element."""
    if value.size != 1:
        problems.append(f"{name}: expected one number at {field}, got an array of shape {value.shape}")
        return 0.0
    return float(value.item())


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
