"""What every optimizer asks of parameters and gradients."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxtrain.optim._state import Structure, number_of_leaves


def check_floating(name: str, params: Any) -> None:
    """Raise `TypeError` unless every parameter is a floating point array."""
    for path, leaf in jax.tree.leaves_with_path(params):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(
                f"{name}: expected floating point parameters, got {jnp.result_type(leaf)} at "
                f"{jax.tree_util.keystr(path) or 'the root'}; keep such arrays out of the parameters, or mask them"
            )


def check_gradients(
    name: str,
    gradients: Sequence[Any],
    like: Sequence[jax.Array | None],
    structure: Structure,
    *,
    takes_rows: bool = False,
) -> None:
    """Raise unless every gradient is a floating point array of the shape that is known, or None for none.

    Gradients of single rows (`SparseRows`) have no shape; only where `takes_rows` says so may they come.
    """
    for index, (gradient, known) in enumerate(zip(gradients, like, strict=True)):
        if gradient is None:
            continue
        dtype = getattr(gradient, "dtype", None)
        floating = dtype is not None and jnp.issubdtype(dtype, jnp.floating)
        is_dense, shape = hasattr(gradient, "shape"), None if known is None else known.shape
        if floating and (takes_rows if not is_dense else shape in (None, gradient.shape)):
            continue
        path, _ = jax.tree.leaves_with_path(structure.unflatten(range(structure.num_leaves)))[index]
        where = jax.tree_util.keystr(path) or "the root"
        if not floating:
            raise TypeError(
                f"{name}: expected floating point gradients, got {dtype or type(gradient).__name__} at {where}; where "
                "a parameter has no gradient, put None"
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
