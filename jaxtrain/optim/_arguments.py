"""Checks of the parameters, the gradients and the state that an optimizer is given."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxtrain.optim._state import Buffers, Structure, number_of_leaves


def check_floating(name: str, params: Any) -> None:
    """Raise `TypeError` unless every parameter is a floating point array."""
    for path, leaf in jax.tree.leaves_with_path(params):
        where = jax.tree_util.keystr(path) or "the root"
        if not hasattr(leaf, "dtype"):
            raise TypeError(
                f"{name}: expected arrays as parameters, got {type(leaf).__name__} at {where}; convert numbers by "
                "jax.tree.map(jnp.asarray, params), and keep everything else out of the parameters"
            )
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            way_out = (
                "optax.contrib.split_real_and_imaginary makes two real arrays of a complex one"
                if jnp.issubdtype(leaf.dtype, jnp.complexfloating)
                else "keep such arrays out of the parameters, or mask them"
            )
            raise TypeError(f"{name}: expected floating point parameters, got {leaf.dtype} at {where}; {way_out}")


def leaves_like(name: str, what: str, structure: Structure, tree: Any, way_out: str) -> list[Any]:
    """The leaves of `tree`; raise `ValueError` unless its nodes are those of `structure`."""
    try:
        return structure.flatten_up_to(tree)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: expected {what} in the tree of the parameters; {error} {way_out}") from None


def leaves_of_gradients(name: str, structure: Structure, gradients: Any) -> list[Any]:
    """`leaves_like` of gradients, where None stands for a missing one."""
    return leaves_like(name, "gradients", structure, gradients, "Take them of the parameters that update is given")


def check_gradients(
    name: str,
    gradients: Sequence[Any],
    like: Sequence[jax.Array | None],
    structure: Structure,
    *,
    rows: type | None = None,
) -> None:
    """Raise unless every gradient is a floating point array of the shape that is known, or None for none.

    Args:
        name: of the optimizer.
        gradients: one for each parameter.
        like: parameters or buffers with the shapes of the gradients; None where they are not known.
        structure: the tree of the parameters.
        rows: the type that gradients of single rows must have; None for dense gradients.
    """
    for index, (gradient, known) in enumerate(zip(gradients, like, strict=True)):
        if gradient is None:
            continue
        dtype = getattr(gradient, "dtype", None)
        floating = dtype is not None and jnp.issubdtype(dtype, jnp.floating)
        is_dense, shape = hasattr(gradient, "shape"), None if known is None else known.shape
        if floating and (isinstance(gradient, rows) if rows else is_dense and shape in (None, gradient.shape)):
            continue
        path, _ = jax.tree.leaves_with_path(structure.unflatten(range(structure.num_leaves)))[index]
        where = jax.tree_util.keystr(path) or "the root"
        if not floating:
            raise TypeError(
                f"{name}: expected floating point gradients, got {dtype or type(gradient).__name__} at {where}; where "
                "a parameter has no gradient, put None"
            )
        if rows:
            raise TypeError(
                f"{name}: expected a gradient of {rows.__name__}, got a dense one at {where}; dense gradients are for "
                "adam, optax.partition gives each parameter its own optimizer"
            )
        if not is_dense:
            raise TypeError(
                f"{name}: expected a dense gradient, got {type(gradient).__name__} at {where}; sparse_adam takes "
                "gradients of single rows, optax.partition gives each parameter its own optimizer"
            )
        raise ValueError(
            f"{name}: expected a gradient of shape {shape}, its parameter's, got {gradient.shape} at {where}"
        )


def check_number(name: str, gradients: int, step: jax.Array, trees: Iterable[Any]) -> None:
    """Raise `ValueError` unless there are as many gradients as parameters, as far as a state knows their number."""
    parameters = len(step) if step.ndim else number_of_leaves(trees)
    if parameters not in (None, gradients):
        raise ValueError(
            f"{name}: got {gradients} gradients for {parameters} parameters; where a parameter has no "
            "gradient, put None in its place and call update(gradients, state, params)"
        )


def check_shapes(name: str, parameters: Sequence[jax.Array | None], buffers: Sequence[Buffers]) -> None:
    """Raise `ValueError` unless the buffers of a state have the shapes of the parameters, as far as these are given."""
    for parameter, own in zip(parameters, buffers, strict=True):
        for key, buffer in own.items():
            if parameter is not None and buffer.shape != parameter.shape:
                raise ValueError(
                    f"{name}: expected a state for parameters of these shapes, got {key} of shape {buffer.shape} for a "
                    f"parameter of shape {parameter.shape}; call init again"
                )


def check_state(name: str, state_type: Any, buffers: Collection[str], state: Any) -> None:
    """Raise unless the state is of this optimizer, with all buffers that its options need."""
    if not isinstance(state, state_type):
        raise TypeError(
            f"{name}: expected the {state_type.__name__} that its init returns, got {type(state).__name__}; a state of "
            "another optimizer cannot be continued"
        )
    missing = [key for key in buffers if getattr(state, key) is None]
    if missing:
        raise ValueError(
            f"{name}: expected a state with {' and '.join(missing)}, which these options need, got one without; "
            "continue with the options that the state was made with, or call init again"
        )
