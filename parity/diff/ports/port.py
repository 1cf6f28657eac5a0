"""What a diff needs to know of a model in JAX: its arrays, their names in PyTorch, and the calls of its layers."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Around = Callable[[str, Any, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Called as `around(path, module, call, args, kwargs)` in place of each call of a layer; returns what it returns."""

Convert = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Slot:
    """Where an array lies in a port, and how PyTorch stores it.

    Attributes:
        at: its place among the arrays of the port, parameters first.
        to_torch: into PyTorch's layout.
        from_torch: the way back.
        part: which of how many equal parts of PyTorch's array it is, along the first axis; None for all of it.
    """

    at: int
    to_torch: Convert
    from_torch: Convert
    part: tuple[int, int] | None = None


class Port(ABC):
    """A model in JAX: its arrays are values outside of it, and every call of a layer can be watched.

    Attributes:
        params: the trained arrays.
        rest: the other ones, such as running statistics.
        slots: where the array of each of PyTorch's names lies; several slots are its parts.
        interruptible: whether a run may be stopped in the middle without losing the new `rest`.
    """

    params: list[Any]
    rest: list[Any]
    slots: dict[str, list[Slot]]
    interruptible = True

    @abstractmethod
    def tree(self, params: Sequence[Any]) -> Any:
        """Parameters, or their gradients, as the user's optimizer takes them."""

    @abstractmethod
    def bind(self, params: Sequence[Any], rest: Sequence[Any]) -> Any:
        """The model with these arrays, as the loss takes it."""

    @abstractmethod
    def watching(self, model: Any, around: Around) -> AbstractContextManager[None]:
        """Send the calls of all layers of a bound model through `around`."""

    def after(self, model: Any, extra: Any) -> list[Any]:
        """The other arrays after a run; `extra` is what the loss returned besides its value."""
        return list(self.rest)

    def on_batch(self, model: Any, *batch: Any) -> Any:
        """The model on a batch, for a diff without a loss."""
        return model(*batch)

    @property
    def trained(self) -> set[str]:
        """PyTorch's names of the parameters."""
        return {name for name, slots in self.slots.items() if slots[0].at < len(self.params)}

    def arrays(self, params: Sequence[Any], rest: Sequence[Any]) -> dict[str, np.ndarray]:
        """Arrays under PyTorch's names, in its layout; those that are given."""
        leaves = [*params, *rest, *[None] * (len(self.params) + len(self.rest) - len(params) - len(rest))]
        found = {}
        for name, slots in self.slots.items():
            if all(leaves[slot.at] is not None for slot in slots):
                parts = [slot.to_torch(as_numpy(leaves[slot.at])) for slot in sorted(slots, key=_part)]
                found[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return found

    def filled(self, arrays: Mapping[str, np.ndarray]) -> tuple[list[Any], list[Any]]:
        """The arrays of the port with the given ones in their places, in the dtypes that they have."""
        leaves = [*self.params, *self.rest]
        for name, array in arrays.items():
            for slot in self.slots.get(name, ()):
                index, count = slot.part or (0, 1)
                value = slot.from_torch(np.array_split(array, count)[index] if slot.part else array)
                # An array of another shape is reported as a wrong variable.
                if value.shape == np.shape(leaves[slot.at]):
                    leaves[slot.at] = jnp.asarray(value, leaves[slot.at].dtype)
        return leaves[: len(self.params)], leaves[len(self.params) :]


def _part(slot: Slot) -> tuple[int, int]:
    return slot.part or (0, 1)


def as_numpy(value: Any) -> np.ndarray:
    """NumPy's array, in float64 if it is one of floats."""
    array = np.asarray(value)
    return array.astype(np.float64, copy=False) if jnp.issubdtype(array.dtype, jnp.floating) else array


def is_float(value: Any) -> bool:
    """Whether a leaf is an array of floats."""
    return isinstance(value, jax.Array | np.ndarray) and jnp.issubdtype(value.dtype, jnp.floating)


def in_dtype(tree: Any, dtype: str) -> Any:
    """A tree whose float32 arrays are float64, if that is asked for. Half precision stays."""

    def cast(leaf: Any) -> Any:
        wider = is_float(leaf) and leaf.dtype == jnp.float32 and dtype == "float64"
        return jnp.asarray(leaf, jnp.float64) if wider else leaf

    return jax.tree.map(cast, tree)


def renamed(name: str, rules: Mapping[str, str]) -> str:
    """A name after the user's rules, one after the other."""
    for pattern, new in rules.items():
        name = re.sub(pattern, new, name)
    return name


def check_rules(names: Collection[str], rules: Mapping[str, str]) -> None:
    """Raise if a rule changes nothing: it is misspelt."""
    left = list(names)
    for pattern, new in rules.items():
        if not any(re.search(pattern, name) for name in left):
            raise ValueError(f"diff: expected the rule {pattern!r} of `names` to match a name, got {sorted(left)}")
        left = [re.sub(pattern, new, name) for name in left]
