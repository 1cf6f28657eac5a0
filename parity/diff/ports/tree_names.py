"""PyTorch's names and layouts for the arrays of a tree, from their paths and shapes."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from parity.diff.ports.port import Convert, Slot, check_rules, renamed

LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight", "mean": "running_mean", "var": "running_var"}
PROJECTIONS = {"query": 0, "key": 1, "value": 2, "query_proj": 0, "key_proj": 1, "value_proj": 2}
OUTPUTS = {"out", "output_proj"}

Path = tuple[str, ...]


def slots_of(
    paths: Sequence[Path],
    shapes: Sequence[tuple[int, ...]],
    rules: Mapping[str, str] | None,
    as_is: Collection[str],
    known: Collection[str] = (),
    *,
    flax: bool,
) -> dict[str, list[Slot]]:
    """A slot for each array, by PyTorch's name.

    Args:
        paths: of the arrays, in their order.
        shapes: likewise.
        rules: the user's, from our names to PyTorch's.
        as_is: regular expressions of PyTorch's names whose arrays keep our order of axes.
        known: PyTorch's names.
        flax: whether the layouts and names of the leaves are Flax's; otherwise they are PyTorch's already.
    """
    packed = any(name.endswith(("in_proj_weight", "in_proj_bias")) for name in known)
    own = [_named(path, shape, paths, packed, flax) for path, shape in zip(paths, shapes, strict=True)]
    check_rules([name for name, _ in own], rules or {})
    found: dict[str, list[Slot]] = {}
    for at, ((name, slot), shape) in enumerate(zip(own, shapes, strict=True)):
        name = renamed(name, rules or {})
        if any(re.search(pattern, name) for pattern in as_is):
            slot = (_unchanged, _unchanged, None)
        elif name.endswith("bias") and len(shape) > 1 and slot[2] is None:
            slot = (_flat, _shaped(shape), None)
        found.setdefault(name, []).append(Slot(at, *slot))
    for name, slots in found.items():
        if len({slot.part for slot in slots}) < len(slots):
            given = [".".join(paths[slot.at]) for slot in slots]
            raise ValueError(f"diff: expected `names` to tell the arrays {given} apart, got {name!r} for each")
    return found


Layout = tuple[Convert, Convert, Any]


def _named(
    path: Path, shape: tuple[int, ...], all_paths: Sequence[Path], packed: bool, flax: bool
) -> tuple[str, Layout]:
    *owner, leaf = path
    name = ".".join([*owner, LEAVES.get(leaf, leaf) if flax else leaf])
    last = owner[-1] if owner else ""
    siblings = {
        other[len(owner) - 1] for other in all_paths if owner and other[: len(owner) - 1] == path[: len(owner) - 1]
    }
    attends = last in {*PROJECTIONS, *OUTPUTS} and len(siblings & PROJECTIONS.keys()) == 3
    part = None
    if attends and packed:
        kind = "weight" if leaf in ("kernel", "weight") else "bias"
        inner = f"in_proj_{kind}" if last in PROJECTIONS else f"out_proj.{kind}"
        name = ".".join([*owner[:-1], inner])
        part = (PROJECTIONS[last], 3) if last in PROJECTIONS else None
    if not flax:
        return name, (_unchanged, _unchanged, part)
    if attends and leaf == "kernel" and len(shape) == 3:
        split = 1 if last in PROJECTIONS else 2
        rows, columns = int(np.prod(shape[:split])), int(np.prod(shape[split:]))
        return name, (lambda x: x.reshape(rows, columns).T, lambda x: x.T.reshape(shape), part)
    if attends and leaf == "bias":
        return name, (_flat, _shaped(shape), part)
    if leaf == "kernel" and len(shape) == 2:
        return name, (_swapped, _swapped, part)
    if leaf == "kernel" and len(shape) > 2:
        return name, (lambda x: np.moveaxis(x, (-2, -1), (1, 0)), lambda x: np.moveaxis(x, (1, 0), (-2, -1)), part)
    return name, (_unchanged, _unchanged, part)


def _unchanged(array: np.ndarray) -> np.ndarray:
    return array


def _flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1)


def _shaped(shape: tuple[int, ...]) -> Convert:
    return lambda array: array.reshape(shape)


def _swapped(array: np.ndarray) -> np.ndarray:
    return np.swapaxes(array, -1, -2)
