"""Which of our variables is which of PyTorch's: by name, by value, and by the order of the layers that own them."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher

import numpy as np

from parity.diff.arrays import orders

Arrays = Mapping[str, np.ndarray]
Order = tuple[int, ...] | None
Pairs = dict[str, tuple[str, Order]]

COUNTER = "num_batches_tracked"
ROLES = {
    "w": "weight", "kernel": "weight", "scale": "weight", "gamma": "weight", "g": "weight", "embedding": "weight",
    "b": "bias", "beta": "bias", "offset": "bias", "mean": "running_mean", "var": "running_var",
}  # fmt: skip


def line_variables(
    ours: Arrays, theirs: Arrays, our_layers: Sequence[str] = (), their_layers: Sequence[str] = ()
) -> Pairs:
    """PyTorch's name for each of our variables, with the order of axes that makes ours PyTorch's.

    Args:
        ours: our variables by PyTorch's names, as far as they are known.
        theirs: PyTorch's.
        our_layers: our layers in the order of their calls.
        their_layers: PyTorch's.
    """
    found: Pairs = {name: (name, _order(array, theirs[name])) for name, array in ours.items() if name in theirs}
    _by_value(found, ours, theirs)
    owned = {_owner(name): _owner(other) for name, (other, _) in found.items()}
    our_owners, their_owners = _in_order(ours, our_layers), _in_order(theirs, their_layers)
    known = set(owned.values())
    # A layer that is lined up already stands for itself; of another one its shapes must do.
    mine = [owned.get(owner, owner if owner in their_owners else _shapes(owner, ours)) for owner in our_owners]
    true = [owner if owner in known or owner in our_owners else _shapes(owner, theirs) for owner in their_owners]
    for i, j, size in SequenceMatcher(None, mine, true, autojunk=False).get_matching_blocks():
        for a, b in zip(our_owners[i : i + size], their_owners[j : j + size], strict=True):
            owned.setdefault(a, b)
    for a, b in owned.items():
        _within(found, ours, theirs, a, b)
    return found


def _by_value(found: Pairs, ours: Arrays, theirs: Arrays) -> None:
    """The same numbers under another name, drawn at random, are the same variable."""
    left = {name: array for name, array in theirs.items() if name not in ours and np.ptp(array) > 0}
    for name, array in ours.items():
        if name in found:
            continue
        for other, known in left.items():
            if known.size == array.size and (order := _exact(array, known)) is not None:
                found[name] = other, None if order == tuple(range(array.ndim)) else order
                del left[other]
                break


def _exact(ours: np.ndarray, theirs: np.ndarray) -> Order:
    for order in orders(ours.ndim):
        permuted = np.transpose(ours, order)
        if permuted.shape == theirs.shape and np.array_equal(permuted, theirs):
            return order
    return None


def _order(ours: np.ndarray, theirs: np.ndarray) -> Order:
    """The order of axes that makes our array PyTorch's; None if it is right as it is, or none is."""
    if ours.size != theirs.size or _alike(ours, theirs):
        return None
    for order in orders(ours.ndim):
        if _alike(np.transpose(ours, order), theirs):
            return order
    return None


def _alike(ours: np.ndarray, theirs: np.ndarray) -> bool:
    # Of a table of words, `allclose` makes several copies.
    return np.array_equal(ours, theirs) or (ours.shape == theirs.shape and np.allclose(ours, theirs, rtol=1e-6, atol=0))


def _within(found: Pairs, ours: Arrays, theirs: Arrays, owner: str, other: str) -> None:
    """The variables of two layers that belong together: by role, and by shape if only one has it."""
    taken = {name for name, _ in found.values()}
    free = [name for name in theirs if _owner(name) == other and name not in taken]
    left = [name for name in ours if _owner(name) == owner and name not in found]
    for name in left:
        role = ROLES.get(_leaf(name), _leaf(name))
        fitting = [known for known in free if sorted(theirs[known].shape) == sorted(ours[name].shape)]
        named = [known for known in fitting if _leaf(known) == role]
        alike = [mine for mine in left if sorted(ours[mine].shape) == sorted(ours[name].shape)]
        if named or (len(fitting) == len(alike) == 1):
            chosen = (named or fitting)[0]
            found[name] = chosen, _order(ours[name], theirs[chosen])
            free.remove(chosen)


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _in_order(arrays: Iterable[str], layers: Sequence[str]) -> list[str]:
    """The layers that own variables, in the order of their first calls where it is known."""
    places = {path: place for place, path in reversed(list(enumerate(layers)))}
    owners = list(dict.fromkeys(_owner(name) for name in arrays))
    return sorted(owners, key=lambda owner: places.get(owner, len(places)))


def _shapes(owner: str, arrays: Arrays) -> tuple[tuple[int, ...], ...]:
    own = [array for name, array in arrays.items() if _owner(name) == owner and _leaf(name) != COUNTER]
    return tuple(sorted(tuple(sorted(array.shape)) for array in own))
