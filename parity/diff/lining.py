"""Line both sides up: layers by names, parameters and parents; arrays by names or values."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import numpy as np

from parity.diff.lined_variables import COUNTER, line_variables
from parity.diff.ports.port import renamed
from parity.diff.records import Call


@dataclass
class Lines:
    """Which of our layers and variables are which of PyTorch's.

    Attributes:
        layers: PyTorch's path for each of our paths.
        parameters: PyTorch's name for each of our names, with the order of axes that makes ours PyTorch's.
        unmatched: a line for everything that could not be lined up, with a proposal.
        alone: PyTorch's variables that are not lined up, if some of ours are not, either.
    """

    layers: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, tuple[str, tuple[int, ...] | None]] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)

    def apart(self, path: str) -> str | None:
        """A variable of PyTorch's layer that is not lined up."""
        return next((name for name in self.alone if not path or name.startswith(f"{path}.")), None)

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
    our_layers: Mapping[str, str],
    their_layers: Mapping[str, str],
    ours: Mapping[str, np.ndarray],
    theirs: Mapping[str, np.ndarray],
    *,
    names: Mapping[str, str] | None = None,
    layers: Mapping[str, str] | None = None,
) -> Lines:
    """Line layers and variables up.

    Args:
        our_layers: the class of each JAX layer by its path, in the order in which they return.
        their_layers: likewise of PyTorch's.
        ours: our variables by PyTorch's names, as far as they are known.
        theirs: PyTorch's.
        names: rules from our names to PyTorch's.
        layers: PyTorch's path for some of our paths, given by the user.
    """
    lines = Lines(parameters=line_variables(ours, theirs, list(our_layers), list(their_layers)))
    _unmatched_variables(lines, ours, theirs)
    _line_layers(lines, our_layers, their_layers, names or {}, layers or {})
    return lines


def kinds_of(calls: Iterable[Call]) -> dict[str, str]:
    """The class of each called layer by its path."""
    return {call.path: call.kind for call in calls if not call.number}


def _unmatched_variables(lines: Lines, ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> None:
    matched = {other for other, _ in lines.parameters.values()}
    left = {name: array for name, array in theirs.items() if name not in matched and not name.endswith(COUNTER)}
    alone = False
    for name, array in ours.items():
        if name not in lines.parameters and not name.endswith(COUNTER):
            alone = True
            fitting = [other for other, known in left.items() if sorted(known.shape) == sorted(array.shape)]
            lines.unmatched.append(f"our variable {name!r}{_proposal(name, fitting)}")
    for name, array in left.items():
        # A tied weight has two names in PyTorch.
        if not any(theirs[other].shape == array.shape and np.array_equal(theirs[other], array) for other in matched):
            lines.unmatched.append(f"PyTorch's variable {name!r}")
            lines.alone += [name] if alone else []


def _line_layers(
    lines: Lines, ours: Mapping[str, str], theirs: Mapping[str, str], names: Mapping[str, str], given: Mapping[str, str]
) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(f"diff: expected `layers` to map our paths of layers to PyTorch's, got {type(given).__name__}")
    for path in given:
        if path not in ours or given[path] not in theirs:
            raise ValueError(
                f"diff: expected `layers` to map paths of called layers, got {path!r}: {given[path]!r}; ours are "
                f"{sorted(ours)}, PyTorch's are {sorted(theirs)}"
            )
    owners: dict[str, set[str]] = {}
    for name, (other, _) in lines.parameters.items():
        owners.setdefault(name.rpartition(".")[0], set()).add(other.rpartition(".")[0])
    for path in sorted(ours, key=lambda path: -path.count(".")):
        owned = owners.get(own := _renamed(path, names), set())
        if path in given:
            lines.layers[path] = given[path]
        elif path == "" and "" in theirs:
            lines.layers[path] = ""
        elif own in theirs:
            lines.layers[path] = own
        elif len(owned) == 1 and owned <= theirs.keys():
            lines.layers[path] = owned.pop()
        elif path and (other := _around(path, lines.layers)) and other in theirs.keys() - set(lines.layers.values()):
            lines.layers[path] = other
    _line_kinds(lines, ours, theirs)
    matched = set(lines.layers.values())
    free = [path for path in theirs if path not in matched]
    lines.unmatched += [
        f"our layer {path!r}{_proposal(path, free)}"
        for path in ours
        if path not in lines.layers and not _within_a_leaf(path, lines.layers, theirs)
    ]
    # A layer of PyTorch's whose variables are lined up is missing as a call alone, in a function perhaps.
    used = {other.rpartition(".")[0] for other, _ in lines.parameters.values()}
    lines.unmatched += [f"PyTorch's layer {path!r}" for path in free if path not in used]


def _within_a_leaf(path: str, layers: Mapping[str, str], theirs: Mapping[str, str]) -> bool:
    """Whether the layer is a part of one that PyTorch computes as a whole, such as a projection of attention."""
    around = path.rpartition(".")[0]
    whole = layers.get(around) if around else None
    return whole is not None and not any(other.startswith(f"{whole}.") for other in theirs)


def _around(path: str, layers: Mapping[str, str]) -> str | None:
    """PyTorch's layer around the counterparts of our layers inside of this one."""
    inside = {other.rpartition(".")[0] for child, other in layers.items() if child.rpartition(".")[0] == path != child}
    return inside.pop() if len(inside) == 1 else None


def _line_kinds(lines: Lines, ours: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    """Layers without variables, such as dropout: of the same class, at the same place between the other ones."""
    matched = set(lines.layers.values())
    mine = [lines.layers.get(path, (_kind(kind),)) for path, kind in ours.items()]
    true = [path if path in matched else (_kind(kind),) for path, kind in theirs.items()]
    paths, others = list(ours), list(theirs)
    for i, j, size in SequenceMatcher(None, mine, true, autojunk=False).get_matching_blocks():
        for path, other in zip(paths[i : i + size], others[j : j + size], strict=True):
            lines.layers.setdefault(path, other)


def _kind(name: str) -> str:
    return re.sub(r"\d+d$", "", name).lower()


def _renamed(path: str, names: Mapping[str, str]) -> str:
    """The path under PyTorch's names, by the rules that are written for variables."""
    return renamed(f"{path}.weight" if path else "weight", names).rpartition(".")[0]


def _proposal(name: str, candidates: list[str]) -> str:
    best = max(candidates, key=lambda other: SequenceMatcher(None, name, other).ratio(), default=None)
    return f"; perhaps it is {best!r}" if best is not None else ""
