"""The states of all element-wise optimizers: their common fields, their scalars, their buffers."""

from collections.abc import Collection, Iterable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

Buffers = dict[str, jax.Array]
Structure: TypeAlias = jax.tree_util.PyTreeDef  # pyright: ignore[reportInvalidTypeForm] JAX's stub has it as a variable.
COMMON = ("count", "step", "lr")
"""The first fields of every state. Fields named by its `SCALARS` follow; the others are buffers."""


def increased(count: jax.Array) -> jax.Array:
    """`count + 1`, or `count` where it is the largest integer of its type."""
    return lax.min(count, np.array(jnp.iinfo(count.dtype).max - 1, count.dtype)) + 1


def separate_steps(state: optax.OptState) -> optax.OptState:
    """Let each parameter count its own steps from now on, as if a gradient had already been missing.

    An update in which a gradient is None does this by itself, which changes the shape of the state's `step`. Where a
    state must keep its shape, as in the carry of `lax.scan`, call this before.

    Args:
        state: state of an optimizer of this package, or any state that contains such states.

    Returns:
        The same state, with a vector `step` that has one number for each parameter.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> state = optim.adam().init({"a": jnp.ones(2), "b": jnp.ones(3)})
        >>> state.step.shape, optim.separate_steps(state).step.shape
        ((), (2,))

    PyTorch: none; there every parameter has its own step number.
    """

    def separated(node: Any) -> Any:
        if not is_ours(node):
            return node
        number = number_of_leaves(getattr(node, name) for name in buffer_names(type(node)))
        if number is None:
            return node
        shared = {name: getattr(node, name) for name in ("step", *scalar_names(type(node)))}
        return node._replace(**{name: jnp.broadcast_to(value, (number,)) for name, value in shared.items()})

    return jax.tree.map(separated, state, is_leaf=is_ours)


def number_of_leaves(trees: Iterable[Any]) -> int | None:
    """The number of parameters, from the trees of their buffers; None where there are none."""
    # Where a parameter lacks a buffer that others have, its place in the tree holds None; so does a place without any.
    leaves = [jax.tree.leaves(tree, is_leaf=lambda node: node is None) for tree in trees if tree is not None]
    if not leaves:
        return None
    return sum(any(buffer is not None for buffer in buffers) for buffers in zip(*leaves, strict=True))


def is_ours(node: Any) -> bool:
    """Whether a node of a tree is the state of an element-wise optimizer of this package."""
    return getattr(node, "_fields", ())[:3] == COMMON


def scalar_names(state_type: Any) -> tuple[str, ...]:
    """The fields of a state that have the shape of its `step`."""
    return getattr(state_type, "SCALARS", ())


def buffer_names(state_type: Any) -> tuple[str, ...]:
    """The fields of a state that hold an array for each parameter."""
    return tuple(field for field in state_type._fields if field not in (*COMMON, *scalar_names(state_type)))


def by_name(leaves: list[Buffers], structure: Structure, every: Collection[str]) -> dict[str, Any]:
    """From buffers by name for each leaf to a tree for each name, with None where a leaf has no such buffer.

    Without leaves there is an empty tree for `every` name.
    """
    names = {name for buffers in leaves for name in buffers} if leaves else every
    return {name: structure.unflatten([buffers.get(name) for buffers in leaves]) for name in names}


def by_leaf(trees: dict[str, list[Any]], structure: Structure) -> list[Buffers]:
    """Inverse of `by_name`: the buffers by name for each leaf, from the leaves of each tree."""
    return [
        {name: leaves[index] for name, leaves in trees.items() if leaves[index] is not None}
        for index in range(structure.num_leaves)
    ]
