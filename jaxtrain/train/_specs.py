"""Which dimensions of which array are split over which axes of a mesh."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh, PartitionSpec
from jax.tree_util import keystr
from jaxtyping import PyTree

from jaxtrain.train.state import TrainState

Path = tuple[Any, ...]


def axes_of(entry: Any) -> tuple[str, ...]:
    """The axes of a mesh in one entry of a `PartitionSpec`: a name, several, or None."""
    return () if entry is None else (entry,) if isinstance(entry, str) else tuple(entry)


def entry_of(axes: tuple[str, ...]) -> Any:
    """Axes as an entry of a `PartitionSpec`: None for none, and one is spelled without a tuple, as JAX does."""
    return axes if len(axes) > 1 else next(iter(axes), None)


def parts(mesh: Mesh, entry: Any) -> int:
    """Into how many parts an entry of a `PartitionSpec` splits its dimension."""
    return math.prod(mesh.shape[axis] for axis in axes_of(entry))


def annotations(state: TrainState) -> dict[Path, PartitionSpec]:
    """The specs that the module's variables carry, by path: `nnx.Param(value, out_sharding=(None, "model"))`."""
    found: dict[Path, PartitionSpec] = {}

    def see(state: TrainState) -> None:
        model = state.blueprint.module(state.params, state.model_state, state.key, state.step, train=True)
        for path, variable in nnx.to_flat_state(nnx.state(model)):
            spec = nnx.get_partition_spec(variable).get_raw_value()
            if isinstance(spec, PartitionSpec) and any(spec):
                found[path] = spec

    jax.eval_shape(see, state)
    return found


def by_rule(path: Path, rules: Mapping[str, PartitionSpec], annotated: Mapping[Path, PartitionSpec]) -> PartitionSpec:
    """The spec of the first rule that matches the path, else the one that the variable carries, else an empty one."""
    name = "/".join(map(str, path))
    matching = (spec for pattern, spec in rules.items() if re.search(pattern, name))
    return next(matching, annotated.get(path, PartitionSpec()))


def check_fits(name: str, shape: tuple[int, ...], spec: PartitionSpec, mesh: Mesh) -> None:
    """Raise unless an array of this shape can be split so."""
    if len(spec) > len(shape):
        raise ValueError(
            f"Placement: expected a spec with at most {len(shape)} entries for {name}, of shape {shape}, got {spec}; "
            "give it a rule that comes first"
        )
    if PartitionSpec.UNCONSTRAINED in tuple(spec):
        raise ValueError(
            f"Placement: expected axes or None for {name}, got UNCONSTRAINED in {spec}; give it a rule without it"
        )
    named = [axis for entry in spec for axis in axes_of(entry)]
    if len(set(named)) < len(named):
        raise ValueError(
            f"Placement: expected each axis at most once for {name}, got {spec}; split another dimension over another "
            "axis"
        )
    for dimension, entry in enumerate(spec):
        if unknown := set(axes_of(entry)) - set(mesh.axis_names):
            raise ValueError(
                f"Placement: expected axes of the mesh, {mesh.axis_names}, for {name}, got {unknown} in {spec}; "
                "name one of the mesh, or give the mesh this axis"
            )
        if shape[dimension] % parts(mesh, entry):
            raise ValueError(
                f"Placement: expected dimension {dimension} of {name}, of shape {shape}, to be a multiple of "
                f"{parts(mesh, entry)}, the devices along {entry!r}, got {shape[dimension]}; pad it, or give it "
                "another rule"
            )


def fully_split(shape: tuple[int, ...], spec: PartitionSpec, mesh: Mesh, axes: tuple[str, ...]) -> PartitionSpec:
    """`spec` with the largest dimension that is whole, and divides, split over those axes that `spec` does not use."""
    entries = [*spec, *[None] * (len(shape) - len(spec))]
    used = {axis for entry in spec for axis in axes_of(entry)}
    entry = entry_of(tuple(axis for axis in axes if axis not in used))
    divide = [i for i, size in enumerate(shape) if entries[i] is None and size and size % parts(mesh, entry) == 0]
    if entry and divide:
        entries[max(divide, key=lambda i: shape[i])] = entry
    return trimmed(entries)


def trimmed(entries: Any) -> PartitionSpec:
    """A spec that does not end in None: JAX compiles again for a spec that is spelled differently."""
    entries = list(entries)
    while entries and entries[-1] is None:
        entries.pop()
    return PartitionSpec(*entries)


def of_moments(path: Path, shape: tuple[int, ...], params: Mapping[Path, tuple[Any, PartitionSpec]]) -> PartitionSpec:
    """The spec of a leaf of an optimizer's state: that of the parameter whose path is the end of the leaf's.

    A stack of such arrays is whole along the dimensions in front. A leaf of another shape has an empty spec.
    """
    for start in range(len(path)):
        if path[start:] in params:
            like, spec = params[path[start:]]
            ahead = len(shape) - len(like)
            return trimmed([*[None] * ahead, *spec]) if ahead >= 0 and shape[ahead:] == like else PartitionSpec()
    return PartitionSpec()


def leaves_by_path(tree: PyTree) -> Iterator[tuple[Path, Any]]:
    """Every leaf of a tree, with the names, keys and numbers on the way to it."""
    for path, leaf in jax.tree.leaves_with_path(tree):
        yield tuple(_plain(key) for key in path), leaf


def _plain(key: Any) -> Any:
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return getattr(key, attribute)
    return keystr((key,))
