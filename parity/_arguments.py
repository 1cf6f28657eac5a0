"""What the checks are given: looked at before anything is compared, with the way out in the error."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import torch
from flax import nnx

from parity.diff.inputs import described
from parity.subjects._arrays import to_jax, to_torch
from parity.subjects.optimizer import Leaf


def check_function(where: str, name: str, given: Any, way_out: str) -> None:
    """Raise unless it is a function; a module can be called, but it computes where a function is to make it."""
    if not callable(given) or isinstance(given, nnx.Module | torch.nn.Module):
        raise TypeError(f"{where}: expected {name} to be a function, got {described(given)}; pass {way_out}")


def check_made(where: str, name: str, made: Any, kind: type, what: str) -> None:
    """Raise unless a function made what it is to make."""
    if not isinstance(made, kind):
        raise TypeError(
            f"{where}: expected {name} to make {what}, got {described(made)}; the first argument is ours, the second "
            "PyTorch's"
        )


def check_steps(where: str, steps: Any) -> None:
    """Raise unless it is a number of steps."""
    if not isinstance(steps, int | np.integer) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"{where}: expected steps to be a whole number of at least 1, got {steps!r}")


def check_leaves(where: str, leaves: Any) -> None:
    """Raise unless these are parameters with as many gradients each, of their shape."""
    if not isinstance(leaves, Mapping) or not leaves or not all(isinstance(leaf, Leaf) for leaf in leaves.values()):
        raise TypeError(
            f"{where}: expected leaves to be a dict of parity.subjects.optimizer.Leaf(initial, gradients) by name, at "
            f"least one, got {leaves!r}"
        )
    steps = len(next(iter(leaves.values())).gradients)
    for name, leaf in leaves.items():
        expected = (steps, *np.shape(leaf.initial))
        if np.shape(leaf.gradients) != expected or not steps:
            raise ValueError(
                f"{where}: expected gradients of shape {expected} for {name!r}, one for each step, at least one, got "
                f"{np.shape(leaf.gradients)}"
            )


def check_arrays(where: str, inputs: Sequence[Any]) -> None:
    """Raise unless there are inputs, all numbers."""
    if not inputs:
        raise TypeError(f"{where}: expected an array for at least one training step, got none")
    for array in inputs:
        kind = np.asarray(array).dtype
        if not np.issubdtype(kind, np.number) and not np.issubdtype(kind, np.bool_):
            raise TypeError(f"{where}: expected inputs of numbers, got {kind}")
        if np.isnan(array).any():
            raise ValueError(f"{where}: expected inputs of numbers, got NaN: all results that are NaN are equal")


def check_sets(where: str, inputs: Sequence[Any], wrt: Any) -> None:
    """Raise unless there are sets of inputs, and `wrt` names floating ones."""
    if not inputs or not all(isinstance(arrays, tuple | list) for arrays in inputs):
        kinds = [type(arrays).__name__ for arrays in inputs]
        raise TypeError(f"{where}: expected at least one tuple of inputs, such as (x, y), got {kinds or 'none'}")
    if not isinstance(wrt, tuple) or not wrt:
        raise TypeError(f"{where}: expected wrt to be a tuple of positions of inputs, such as (0,), got {wrt!r}")
    for arrays in inputs:
        for position in wrt:
            known = isinstance(position, int) and -len(arrays) <= position < len(arrays)
            if not known or not _is_floating(arrays[position]):
                raise ValueError(
                    f"{where}: expected positions of floating inputs in wrt, of {len(arrays)} inputs, got {position!r}"
                )


def check_results(
    where: str,
    ours: Callable[..., Any],
    reference: Callable[..., Any],
    arrays: Sequence[Any],
    wrt: tuple[int, ...],
) -> None:
    """Raise unless both functions return an array for a set of inputs, and PyTorch's has a gradient."""
    tensors: list[Any] = [None if array is None else to_torch(array, "float32") for array in arrays]
    for position in wrt:
        tensors[position].requires_grad_()
    theirs = reference(*tensors)
    if not isinstance(theirs, torch.Tensor):
        raise TypeError(f"{where}: expected reference to return a tensor, got {described(theirs)}")
    if not theirs.requires_grad:
        raise ValueError(f"{where}: expected the result of reference to have a gradient by the inputs {wrt}, got none")

    def returned(*arrays: Any) -> jax.Array:
        own = ours(*arrays)
        if not isinstance(own, jax.Array):
            raise TypeError(f"{where}: expected ours to return an array, got {described(own)}; return jnp.asarray(...)")
        return own

    jax.eval_shape(returned, *(None if array is None else to_jax(array, "float32") for array in arrays))


def _is_floating(array: Any) -> bool:
    return array is not None and np.issubdtype(np.asarray(array).dtype, np.floating)
