"""Line both sides up: layers by names, parameters and parents; arrays by names or values."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import numpy as np

from parity.diff.arrays import orders


@dataclass
class Lines:
    """What belongs to what.

    Attributes:
        layers: PyTorch's path for each of our paths.
        parameters: PyTorch's name for each of our names, with the order of axes that makes ours PyTorch's.
        unmatched: a line for everything that could not be lined up, with a proposal.
    """

    layers: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, tuple[str, tuple[int, ...] | None]] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)

    def in_torch(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Our arrays under PyTorch's names, in its layout; those that are lined up."""
        found = {}
        for name, array in arrays.items():
            if name in self.parameters:
                theirs, order = self.parameters[name]
                found[theirs] = array if order is None else np.transpose(array, order)
        return found

    def to_ours(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """PyTorch's arrays under the names that we have for them, in their order of axes."""
        found = {}
        for name, (theirs, order) in self.parameters.items():
            if theirs in arrays:
                array = arrays[theirs]
                found[name] = array if order is None else np.transpose(array, np.argsort(order))
        return found


def line_up(
    our_layers: Iterable[str],
    their_layers: Iterable[str],
    ours: Mapping[str, np.ndarray],
    theirs: Mapping[str, np.ndarray],
    *,
    names: Mapping[str, str] | None = None,
    layers: Mapping[str, str] | None = None,
) -> Lines:
    """Line layers and variables up.

    Args:
        our_layers: paths of the JAX layers that are called.
        their_layers: paths of PyTorch's.
        ours: our variables by PyTorch's names, as far as they are known.
        theirs: PyTorch's.
        names: rules from our names to PyTorch's.
        layers: PyTorch's path for some of our paths, given by the user.
    """
    lines = Lines()
    _line_variables(lines, ours, theirs)
    _line_layers(lines, list(our_layers), list(their_layers), names or {}, layers or {})
    return lines


def _line_variables(lines: Lines, ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> None:
    left = {name: array for name, array in theirs.items() if name not in ours}
    for name, array in ours.items():
        if name in theirs:
            lines.parameters[name] = name, _order(array, theirs[name])
            continue
        # The same numbers under another name, drawn at random, are the same variable.
        same = [
            (other, order)
            for other, known in left.items()
            if known.size == array.size and np.ptp(known) > 0
            for order in orders(array.ndim)
            if np.transpose(array, order).shape == known.shape and np.array_equal(np.transpose(array, order), known)
        ]
        if same:
            other, order = same[0]
            lines.parameters[name] = other, None if order == tuple(range(array.ndim)) else order
            del left[other]
        elif not name.endswith("num_batches_tracked"):
            fitting = [other for other, known in left.items() if sorted(known.shape) == sorted(array.shape)]
            lines.unmatched.append(f"our variable {name!r}{_proposal(name, fitting)}")
    matched = {theirs_name for theirs_name, _ in lines.parameters.values()}
    for name, array in left.items():
        # A tied weight has two names in PyTorch, and masks are no weights.
        tied = any(other in matched and theirs[other] is array for other in theirs)
        if name not in matched and not tied and not name.endswith("num_batches_tracked"):
            lines.unmatched.append(f"PyTorch's variable {name!r}")


def _order(ours: np.ndarray, theirs: np.ndarray) -> tuple[int, ...] | None:
    """The order of axes that makes our array PyTorch's; None if it is right as it is, or none is."""
    if ours.shape == theirs.shape and np.allclose(ours, theirs, rtol=1e-6, atol=0):
        return None
    for order in orders(ours.ndim):
        permuted = np.transpose(ours, order)
        if permuted.shape == theirs.shape and np.allclose(permuted, theirs, rtol=1e-6, atol=0):
            return order
    return None


def _line_layers(
    lines: Lines, ours: list[str], theirs: list[str], names: Mapping[str, str], given: Mapping[str, str]
) -> None:
    known = set(theirs)
    for path in given:
        if path not in ours or given[path] not in known:
            raise ValueError(
                f"diff: expected `layers` to map paths of called layers, got {path!r}: {given[path]!r}; ours are "
                f"{sorted(ours)}, PyTorch's are {sorted(known)}"
            )
    owners: dict[str, set[str]] = {}
    for name, (other, _) in lines.parameters.items():
        owners.setdefault(name.rpartition(".")[0], set()).add(other.rpartition(".")[0])
    for path in sorted(ours, key=lambda path: -path.count(".")):
        renamed = _renamed(path, names)
        owned = owners.get(renamed, set())
        inside = {
            lines.layers[child].rpartition(".")[0]
            for child in lines.layers
            if child and child.rpartition(".")[0] == path and lines.layers[child]
        }
        if path in given:
            lines.layers[path] = given[path]
        elif path == "" and "" in known:
            lines.layers[path] = ""
        elif renamed in known:
            lines.layers[path] = renamed
        elif len(owned) == 1 and owned <= known:
            lines.layers[path] = owned.pop()
        elif len(inside) == 1 and inside <= known and not inside & set(lines.layers.values()) and path:
            lines.layers[path] = inside.pop()
        else:
            free = [other for other in theirs if other not in lines.layers.values()]
            lines.unmatched.append(f"our layer {path!r}{_proposal(path, free)}")
    matched = set(lines.layers.values())
    lines.unmatched += [f"PyTorch's layer {path!r}" for path in theirs if path not in matched]


def _renamed(path: str, names: Mapping[str, str]) -> str:
    """The path under PyTorch's names, by the rules that are written for variables."""
    name = f"{path}.weight" if path else "weight"
    for pattern, new in names.items():
        name = re.sub(pattern, new, name)
    return name.rpartition(".")[0]


def _proposal(name: str, candidates: list[str]) -> str:
    best = max(candidates, key=lambda other: SequenceMatcher(None, name, other).ratio(), default=None)
    return f"; perhaps it is {best!r}" if best is not None else ""
