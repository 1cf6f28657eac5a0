"""The common part of all element-wise optimizers: one algorithm, applied to each parameter separately.

An optimizer's file says four things: which hyper-parameters it has, which buffers it keeps for a parameter, which
scalars a step needs (computed once a step, in float64), and how a parameter moves. The rest is here: hyper-parameters
that are numbers, traced arrays or schedules; parameters that have no gradient in a step; precision; the Optax
interface.

A program's cost must not depend on how many parameters share a step number. While every parameter has had a gradient
in every step, `step` is one number and the float64 scalars are computed once, for all parameters. From the first
missing gradient on it is a vector, one number for each parameter, and so are the scalars that depend on it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.typing import ArrayLike

from jaxtrain._ground.dtypes import default_float
from jaxtrain._ground.float64 import as_float64, in_float64, in_float64_for

Schedule = Callable[[jax.Array], jax.Array]
Hyperparameter = ArrayLike | Schedule
Buffers = dict[str, jax.Array]
COMMON = ("count", "step", "lr")
"""The first fields of every state; the others are buffers."""
Structure: TypeAlias = jax.tree_util.PyTreeDef  # pyright: ignore[reportInvalidTypeForm] JAX's stub has it as a variable.


def per_parameter(
    state_type: Callable[..., Any],
    hyperparameters: Mapping[str, Hyperparameter],
    buffers: Callable[[jax.Array], Buffers],
    scalars: Callable[..., dict[str, jax.Array]],
    update: Callable[..., tuple[jax.Array, Buffers]],
    needs_parameters: str = "",
) -> optax.GradientTransformation:
    """An Optax transformation from the algorithm for one parameter.

    Args:
        state_type: the state's `NamedTuple`: `count`, `step`, `lr`, then a field for each buffer, None by default.
        hyperparameters: numbers, arrays or schedules by name, `lr` among them. A schedule is called with the number
            of updates so far, in float64.
        buffers: a parameter's buffers before the first step, by field name.
        scalars: `scalars(step, **hyperparameters)`, in float64, of the number of this step, counted from one.
            Where `step` is a vector, the results that depend on it hold one value a parameter.
        update: `update(gradient, parameter, **buffers, **scalars)` gives the parameter's change and its new
            buffers. All but the parameter, which comes as it is, have its working dtype.
        needs_parameters: what needs the parameters' values, for the error if the caller does not pass them.
    """

    def at(count: jax.Array) -> dict[str, jax.Array]:
        return {name: as_float64(value(count) if callable(value) else value) for name, value in hyperparameters.items()}

    def scalars_at(count: jax.Array, step: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The learning rate, and what a step needs."""
        current = at(count)
        return current["lr"], scalars(as_float64(step), **current)

    @jax.jit  # Traced once for all parameters of one shape and dtype.
    def moved(
        gradient: jax.Array, parameter: jax.Array | None, buffers: Buffers, scalars: dict[str, jax.Array]
    ) -> tuple[jax.Array, Buffers]:
        """The change of one parameter and its new buffers, computed in the working dtype, stored in their own."""
        dtype = _working_dtype(gradient, parameter)
        wide = {name: buffer.astype(dtype) for name, buffer in buffers.items()}
        change, new = update(gradient.astype(dtype), parameter, **wide, **scalars)
        return (
            change.astype(gradient.dtype if parameter is None else parameter.dtype),
            {name: buffer.astype(buffers[name].dtype) for name, buffer in new.items()},
        )

    def init(params: optax.Params) -> Any:
        check_floating(params)
        leaves, structure = jax.tree.flatten(params)
        count = jnp.zeros((), jnp.int32)
        fresh = [buffers(leaf) for leaf in leaves]
        return state_type(
            count=count,
            step=jnp.zeros((), jnp.int32),
            lr=in_float64(at, count, dtype=default_float())["lr"],
            **_transposed(fresh, structure),
        )

    def apply(updates: optax.Updates, state: Any, params: optax.Params | None = None) -> tuple[optax.Updates, Any]:
        if params is None and needs_parameters:
            raise ValueError(f"{needs_parameters} needs the parameters: call update(gradients, state, params)")
        structure = jax.tree.structure(updates if params is None else params)
        gradient_leaves = structure.flatten_up_to(updates)
        trees = {name: getattr(state, name) for name in state._fields if name not in COMMON}
        check_number(len(gradient_leaves), state.step, trees.values())
        parameter_leaves: list[Any] = (
            [None] * len(gradient_leaves) if params is None else structure.flatten_up_to(params)
        )
        old = _per_leaf(trees, structure)
        # Without the parameter, take the shape from its first buffer.
        like = [
            next(iter(buffers.values()), None) if parameter is None else parameter
            for parameter, buffers in zip(parameter_leaves, old, strict=True)
        ]
        check_gradients(gradient_leaves, like, structure)
        dtypes = [_working_dtype(*pair) for pair in zip(gradient_leaves, parameter_leaves, strict=True)]

        # A parameter without a gradient neither moves nor counts the step. Without buffers the count is not used.
        present = [gradient is not None for gradient in gradient_leaves]
        shared = all(present) or _number_of_leaves(trees.values()) is None
        step = state.step + (1 if shared else np.array(present, np.int32))
        rounded = in_float64_for({*dtypes, default_float()}, scalars_at, state.count, step)

        changes, new = [], []
        for index, (gradient, parameter, dtype) in enumerate(
            zip(gradient_leaves, parameter_leaves, dtypes, strict=True)
        ):
            if gradient is None:
                changes.append(jnp.zeros_like(parameter))
                new.append(old[index])
                continue
            own = {name: _own(value, index) for name, value in rounded[dtype][1].items()}
            change, fresh = moved(gradient, parameter, old[index], own)
            changes.append(change)
            new.append(fresh)

        state = state_type(
            count=optax.safe_increment(state.count),
            step=step,
            lr=rounded[default_float()][0],
            **_transposed(new, structure),
        )
        return structure.unflatten(changes), state

    return optax.GradientTransformation(init, apply)


def separate_steps(state: optax.OptState) -> optax.OptState:
    """Let each parameter count its own steps from now on, as if a gradient had already been missing.

    An update in which a gradient is None does this by itself, which changes the shape of the state's `step`. Where a
    state must keep its shape, as in the carry of `lax.scan`, call this first.

    Args:
        state: state of an optimizer of this package, or any state that contains such states.

    Returns:
        The same state, in which `step` is a vector with one number for each parameter.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> state = optim.adam().init({"a": jnp.ones(2), "b": jnp.ones(3)})
        >>> state.step.shape, optim.separate_steps(state).step.shape
        ((), (2,))

    PyTorch: none; there every parameter has its own step number.
    """

    def separated(node: Any) -> Any:
        trees = [] if not _is_ours(node) else [tree for name, tree in node._asdict().items() if name not in COMMON]
        number = _number_of_leaves(trees)
        if number is None:
            return node
        return node._replace(step=jnp.broadcast_to(node.step, (number,)))

    return jax.tree.map(separated, state, is_leaf=_is_ours)


def check_number(gradients: int, step: jax.Array, trees: Iterable[Any]) -> None:
    """Raise `ValueError` unless there are as many gradients as parameters, as far as a state knows their number."""
    parameters = len(step) if step.ndim else _number_of_leaves(trees)
    if parameters not in (None, gradients):
        raise ValueError(
            f"got {gradients} gradients for {parameters} parameters; where a parameter has no "
            "gradient, put None in its place and call update(gradients, state, params)"
        )


def _number_of_leaves(trees: Iterable[Any]) -> int | None:
    """The number of parameters, from the trees of their buffers; None where there are none."""
    # Where a parameter lacks a buffer that others have, its place in the tree holds None; so does a place without any.
    leaves = [jax.tree.leaves(tree, is_leaf=lambda node: node is None) for tree in trees if tree is not None]
    if not leaves:
        return None
    return sum(any(buffer is not None for buffer in buffers) for buffers in zip(*leaves, strict=True))


def _is_ours(node: Any) -> bool:
    return getattr(node, "_fields", ())[:3] == COMMON


def _own(value: jax.Array, index: int) -> jax.Array:
    """A parameter's element of a vector of scalars, or the scalar that all share."""
    return lax.index_in_dim(value, index, keepdims=False) if value.ndim else value


def check_floating(params: optax.Params) -> None:
    """Raise `TypeError` unless every parameter is a floating point array."""
    for path, leaf in jax.tree.leaves_with_path(params):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(
                f"optimizers need floating point parameters, got {jnp.result_type(leaf)} at "
                f"{jax.tree_util.keystr(path)}; keep such arrays out of the parameters, or mask them"
            )


def check_gradients(gradients: Sequence[Any], like: Sequence[jax.Array | None], structure: Structure) -> None:
    """Raise unless every gradient is a floating point array of the shape that is known, or None for none."""
    for index, (gradient, known) in enumerate(zip(gradients, like, strict=True)):
        if gradient is None:
            continue
        dtype = getattr(gradient, "dtype", None)
        floating = dtype is not None and jnp.issubdtype(dtype, jnp.floating)
        # A gradient of `SparseRows` has no shape.
        shape = None if known is None else known.shape
        if floating and shape in (None, getattr(gradient, "shape", shape)):
            continue
        path, _ = jax.tree.leaves_with_path(structure.unflatten(range(structure.num_leaves)))[index]
        where = jax.tree_util.keystr(path) or "the root"
        if not floating:
            raise TypeError(
                f"optimizers need floating point gradients, got {dtype or type(gradient).__name__} at {where}; where a "
                "parameter has no gradient, put None"
            )
        raise ValueError(f"expected a gradient of shape {shape}, its parameter's, got {gradient.shape} at {where}")


def _working_dtype(gradient: jax.Array | None, parameter: jax.Array | None) -> jnp.dtype:
    """The dtype of a parameter's arithmetic: its own, but at least float32, as in PyTorch's kernels."""
    return jnp.result_type(*(array.dtype for array in (gradient, parameter) if array is not None), np.float32)


def _transposed(leaves: list[Buffers], structure: Structure) -> dict[str, Any]:
    """From buffers by name for each leaf to a tree for each name, with None where a leaf has no such buffer."""
    names = {name for buffers in leaves for name in buffers}
    return {name: structure.unflatten([buffers.get(name) for buffers in leaves]) for name in names}


def _per_leaf(trees: dict[str, Any], structure: Structure) -> list[Buffers]:
    """Inverse of `_transposed`: from a tree for each name to the buffers by name for each leaf."""
    flat = {name: structure.flatten_up_to(tree) for name, tree in trees.items() if tree is not None}
    return [
        {name: leaves[index] for name, leaves in flat.items() if leaves[index] is not None}
        for index in range(structure.num_leaves)
    ]
