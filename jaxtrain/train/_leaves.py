"""Functions of all leaves of a state: select, copy, commit, compare."""

from collections.abc import Mapping
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

Tree = TypeVar("Tree")


def in_dtypes_of(old: PyTree, new: PyTree) -> PyTree:
    """`new` in the dtypes of `old`: a step whose result has another dtype than its input would compile twice."""
    return jax.tree.map(lambda before, after: jax.lax.convert_element_type(after, before.dtype), old, new)


def select(condition: Bool[Array, ""], new: PyTree, old: PyTree) -> PyTree:
    """`new` if the condition holds, otherwise `old`."""
    return jax.tree.map(lambda new, old: jnp.where(condition, new, old), new, old)


def after(late: Array, tree: Tree) -> Tree:
    """The same values, the scalar numbers among them computed after the number `late`.

    Counters and rates wait for nothing that a step computes, so all of them are ready when its program starts. As soon
    as more than eight kernels are ready, XLA's CPU runtime (JAX 0.10.2) wakes a second thread to share them. That takes
    longer than the step of a small network: a program of two products took 28 us with eight counters next to it, and 57
    us with nine (the fastest of 40 rounds).
    """
    never = jnp.isnan(late) & (late == late)  # XLA does not see that no number is both.

    def waiting(leaf: Array) -> Array:
        is_number = leaf.ndim == 0 and jnp.issubdtype(leaf.dtype, jnp.number)
        return jnp.where(never, jnp.zeros_like(leaf), leaf) if is_number else leaf

    return jax.tree.map(waiting, tree)


def own(tree: PyTree) -> PyTree:
    """A copy of every leaf with a separate buffer and a firm dtype (a weak one would retrace the second step)."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, dtype=jnp.asarray(leaf).dtype, copy=True), tree)


copied = jax.jit(own)
"""Copy every leaf of a pytree in one compiled program."""


def committed(tree: Tree) -> Tree:
    """The arrays, tied to the devices on which they are: JAX compiles a program again for arrays that are not."""
    return jax.device_put(tree, jax.tree.map(lambda leaf: leaf.sharding, tree))


def sent(tree: Tree) -> Tree:
    """The arrays, on their way to the host as soon as they are computed: reading one later waits for that one alone."""
    for leaf in jax.tree.leaves(tree):
        leaf.copy_to_host_async()
    return tree


def differences(saved: Mapping[str, str], here: Mapping[str, str], file: str, run: str) -> str:
    """The first of the leaves that are described in two ways, for an error; empty if there are none."""
    found = [
        f"{name}: {saved.get(name, 'nothing')} in {file}, {here.get(name, 'nothing')} in {run}"
        for name in sorted(saved.keys() | here.keys())
        if saved.get(name) != here.get(name)
    ]
    return "; ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
