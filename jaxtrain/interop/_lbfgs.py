"""The state of L-BFGS: vectors of all parameters, cut, converted and joined in the other order."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrain._ground.checks import check_integer
from jaxtrain._ground.paths import named_leaves
from jaxtrain.interop._arrays import as_numpy
from jaxtrain.interop._entries import Entry, packed
from jaxtrain.interop._kinds import foreign
from jaxtrain.interop._saved import MOST, by_path, saved_by_name
from jaxtrain.optim.lbfgs import LBFGSState
from jaxtrain.train.state import TrainState

VECTORS = ("d", "prev_flat_grad")
PAIRS = ("old_dirs", "old_stps")
NUMBERS = ("func_evals", "n_iter", "t", "H_diag", "prev_loss")


def is_state(node: Any) -> bool:
    """Whether a node of a tree is the state of L-BFGS."""
    return isinstance(node, LBFGSState)


def states(opt_state: Any) -> list[LBFGSState]:
    """The states of L-BFGS in the state of an optimizer."""
    return [node for node in jax.tree.leaves(opt_state, is_leaf=is_state) if is_state(node)]


def load(where: str, state: TrainState, saved: Any, parameters: Any, own: list[Entry], count: int | None) -> TrainState:
    """The train state with PyTorch's state of L-BFGS."""
    numbers, ours = _whole(where, state, saved, parameters, own)
    if count is None:
        raise ValueError(f"{where}: L-BFGS does not save the number of updates; give `count`")
    steps = jnp.asarray(check_integer(where, "count", count, 0, MOST), jnp.int32)
    theirs = saved["state"].get(next(iter(numbers.values())), {})
    missing = [name for name in ("d", *NUMBERS) if theirs.get(name) is None]
    if theirs and missing:
        raise ValueError(f"{where}: expected the state of LBFGS, got {sorted(theirs)} without {missing}")

    def new(node: Any) -> Any:
        if not is_state(node):
            return node
        full = _from_torch(where, theirs, list(numbers), ours, node) if theirs else node
        return full._replace(count=steps, lr=jnp.asarray(saved["param_groups"][0]["lr"], node.lr.dtype))

    return dataclasses.replace(state, opt_state=jax.tree.map(new, state.opt_state, is_leaf=is_state), step=steps)


def state_dict(where: str, state: TrainState, like: Any, parameters: Any, own: list[Entry]) -> dict[str, Any]:
    """The state in PyTorch's form, which keeps it under the number of the first parameter."""
    numbers, ours = _whole(where, state, like, parameters, own)
    node = states(state.opt_state)[0]
    begun = int(node.n_iter) > 0
    found = {next(iter(numbers.values())): _to_torch(where, node, list(numbers), ours)} if begun else {}
    return {"state": found, "param_groups": like["param_groups"]}


def _whole(
    where: str, state: TrainState, saved: Any, parameters: Any, own: list[Entry]
) -> tuple[Mapping[str, Any], list[tuple[Entry, tuple[int, ...]]]]:
    """The numbers of all parameters in PyTorch's order, and the variables with their shapes in ours."""
    without = {**saved, "state": {}} if isinstance(saved, Mapping) and "state" in saved else saved
    theirs = saved_by_name(where, without, parameters, own)
    if wrong := foreign(states(state.opt_state)[0], theirs.groups_of(theirs.numbers)):
        raise ValueError(f"{where}: {wrong}")
    known = by_path(own, theirs)
    return theirs.numbers, [(known[path], leaf.shape) for path, leaf in named_leaves(state.params).items()]


def _from_torch(
    where: str,
    own: Mapping[str, Any],
    names: Sequence[str],
    ours: Sequence[tuple[Entry, tuple[int, ...]]],
    old: LBFGSState,
) -> LBFGSState:
    """Our state from PyTorch's. `names` are in PyTorch's order; `ours`, with shapes, in the order of our leaves."""
    shapes = {entry.name: entry.shape(shape) for entry, shape in ours}
    if sorted(shapes) != sorted(names):
        raise ValueError(f"{where}: expected the parameters {sorted(shapes)}, got {sorted(names)}")
    ends = np.cumsum([np.prod(shapes[name], dtype=int) for name in names])

    def vector(value: Any) -> np.ndarray:
        array = as_numpy(where, "state", value)
        if array.shape != old.d.shape:
            raise ValueError(f"{where}: expected vectors of {len(old.d)} elements, got the shape {array.shape}")
        parts = dict(zip(names, np.split(array, ends[:-1]), strict=True))
        return np.concatenate(
            [entry.from_torch(parts[entry.name].reshape(shapes[entry.name])).ravel() for entry, _ in ours]
        )

    number, size = len(own["ro"]), len(old.ro)
    if number > size:
        raise ValueError(f"{where}: expected at most history_size = {size} pairs, got {number}; give the same options")
    found: dict[str, Any] = {name: vector(own[name]) for name in VECTORS}
    for name in PAIRS:
        found[name] = np.zeros(old.old_dirs.shape)
        found[name][:number] = [vector(value) for value in own[name]] if number else 0.0
    found["ro"] = np.zeros(size)
    found["ro"][:number] = [float(value) for value in own["ro"]]
    found |= {name: float(own[name]) for name in NUMBERS} | {"stored": number}
    return old._replace(**{name: jnp.asarray(value, getattr(old, name).dtype) for name, value in found.items()})


def _to_torch(
    where: str, state: LBFGSState, names: Sequence[str], ours: Sequence[tuple[Entry, tuple[int, ...]]]
) -> dict[str, Any]:
    """Our state in PyTorch's form."""
    ends = np.cumsum([np.prod(shape, dtype=int) for _, shape in ours])

    def vector(value: np.ndarray) -> np.ndarray:
        parts: dict[str, list[tuple[Entry, np.ndarray]]] = {}
        for (entry, shape), part in zip(ours, np.split(value, ends[:-1]), strict=True):
            parts.setdefault(entry.name, []).append((entry, part.reshape(shape)))
        if sorted(parts) != sorted(names):
            raise ValueError(f"{where}: expected the parameters {sorted(parts)}, got {sorted(names)}")
        whole = {name: packed(where, name, [e for e, _ in own], [v for _, v in own]) for name, own in parts.items()}
        return np.concatenate([whole[name].ravel() for name in names])

    arrays = {name: np.asarray(getattr(state, name)) for name in (*VECTORS, *PAIRS, "ro")}
    size, stored = len(state.ro), int(state.stored)
    rows = [row % size for row in range(stored - min(stored, size), stored)]
    return {
        "func_evals": int(state.func_evals),
        "n_iter": int(state.n_iter),
        "t": float(state.t),
        "H_diag": np.array(state.H_diag),
        "prev_loss": float(state.prev_loss),
        **{name: vector(arrays[name]) for name in VECTORS},
        **{name: [vector(arrays[name][row]) for row in rows] for name in PAIRS},
        "ro": [arrays["ro"][row].copy() for row in rows],
    }
