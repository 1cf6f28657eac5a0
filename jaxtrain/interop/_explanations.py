"""What an error about weights says: what is missing or unexpected, the likely match, and how to fix it."""

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

import numpy as np

from jaxtrain.interop._entries import Entry
from jaxtrain.interop._patterns import prefix_of


def explained(
    known: Mapping[str, Entry], missing: Sequence[str], unexpected: Sequence[str], given: Mapping[str, np.ndarray]
) -> list[str]:
    """A line for each missing or unexpected name, with the likely match."""
    if prefix := prefix_of(missing, unexpected):
        return [f"the names begin with {prefix!r}: pass names={{'^': {prefix!r}}}"]
    shapes = {name: known[name].shape(known[name].variable.get_value().shape) for name in missing}
    likely = _likely(shapes, {name: given[name].shape for name in unexpected})
    lines = []
    for name, shape in shapes.items():
        hint = f"; perhaps it is {likely[name]!r}: pass `names`" if name in likely else ""
        if part := next((part for part in _parts(name) if part in given), ""):
            hint = (
                f"; it is computed from {part!r} and others: fold it before saving, or give the module the same parts"
            )
        lines.append(f"{name}: expected an array of shape {shape}, got none{hint}")
    places = "has no place in the module; rename it with `names` or pass `ignore`"
    return [*lines, *(f"{name}: of shape {given[name].shape}, {places}" for name in unexpected)]


def other_shape(entry: Entry, ours: tuple[int, ...], got: tuple[int, ...]) -> str:
    """What is wrong with the shape of an array, and the usual mistakes."""
    hint = ""
    if got == ours:
        hint = "; if its axes are in our order, pass `as_is`"
    elif entry.layout.moves == "axes" and not entry.layout.part and 3 <= len(got) <= 5 and len(got) != len(ours):
        hint = f"; give the layer kernel_size={got[2:]}, with a number for each axis of positions"
    return f"{entry.name}: expected the shape {entry.shape(ours)}, got {got}{hint}"


def _likely(missing: Mapping[str, tuple[int, ...]], unexpected: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """The unexpected name that each missing one may have, each given once, the most similar first."""
    pairs = [
        (SequenceMatcher(None, name, other).ratio(), name, other)
        for name, shape in missing.items()
        for other, own in unexpected.items()
        if own == shape
    ]
    found: dict[str, str] = {}
    taken: set[str] = set()
    for _, name, other in sorted(pairs, key=lambda pair: -pair[0]):
        if name not in found and other not in taken:
            found[name] = other
            taken.add(other)
    return found


def _parts(name: str) -> Sequence[str]:
    """What stands in place of a parameter under weight_norm, spectral_norm or pruning, older forms first."""
    layer, dot, own = name.rpartition(".")
    parametrized = f"{layer}{dot}parametrizations.{own}.original"
    return f"{name}_g", f"{name}_orig", f"{parametrized}0", parametrized
