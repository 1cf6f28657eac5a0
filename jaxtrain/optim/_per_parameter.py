"""The common part of all element-wise optimizers: one algorithm, applied to each parameter separately.

An optimizer's file says what is its own: the ranges of its hyper-parameters, which buffers it keeps for a parameter,
which scalars a step derives from the hyper-parameters (once a step, in float64), and how a parameter moves. The rest is
here: hyper-parameters that are numbers, traced arrays or schedules; ascent and weight decay; parameters that have no
gradient in a step; precision; the Optax interface.

A program's cost must not depend on how many parameters share a step number. While every parameter has had a gradient
in every step, `step` is one number and the float64 scalars are computed once, for all parameters. From the first
missing gradient on it is a vector, one number for each parameter, and so are the scalars that depend on it.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxtrain._ground.checks import check_flag, is_zero
from jaxtrain._ground.dtypes import at_least_float32, default_float
from jaxtrain._ground.float64 import as_float64, in_float64, in_float64_for
from jaxtrain.optim._arguments import (
    check_floating,
    check_gradients,
    check_number,
    check_shapes,
    check_state,
    leaves_like,
    leaves_of_gradients,
)
from jaxtrain.optim._hyperparameters import Ranges, at_count, checked, namespace
from jaxtrain.optim._state import Buffers, buffer_names, by_leaf, by_name, increased, number_of_leaves


def nothing_derived(step: jax.Array, h: Any) -> dict[str, jax.Array]:
    """For algorithms that use their hyper-parameters as they are."""
    return {}


def per_parameter(
    name: str,
    state_type: Any,
    ranges: Ranges,
    given: Mapping[str, Any],
    *,
    buffers: Collection[str] | Callable[[jax.Array], Buffers],
    update: Callable[[jax.Array, Any, Any, Any], tuple[jax.Array, Buffers]],
    derived: Callable[[jax.Array, Any], dict[str, jax.Array]] = nothing_derived,
    scalars: Mapping[str, float] | None = None,
    maximize: bool = False,
    decay: Literal["l2", "decoupled"] | None = None,
    reads_parameters: bool = False,
    rows: type | None = None,
) -> optax.GradientTransformation:
    """An Optax transformation from the algorithm for one parameter.

    Args:
        name: of the optimizer, for messages and profiles.
        state_type: the state's `NamedTuple`: the fields `COMMON`, those of its `SCALARS`, then a field for each buffer,
            None by default.
        ranges: of the hyper-parameters, by their argument's name, `lr` among them; a tuple for a tuple.
        given: numbers, arrays or schedules by the same names. A schedule is called with the number of updates so far,
            in float64.
        buffers: the field names of buffers that start as zeros like their parameter, or a function that makes a
            parameter's buffers before the first step, by field name.
        update: `update(g, p, b, h)` gives the parameter's change and its new buffers, from its gradient, its value, its
            buffers and the hyper-parameters, given and derived. All but the value, which comes as it is, have its
            working dtype. Ascent and decay need no code of their own.
        derived: `derived(step, h)`, in float64, of the number of this step, counted from one: scalars that `update`
            reads from its `h`. Where `step` is a vector, the results that depend on it hold one value a parameter.
        scalars: first values of the fields of `SCALARS`. `derived` finds the current ones in its `h`, and returns the
            next ones under the same names.
        maximize: ascend: the gradient changes its sign first.
        decay: how `weight_decay` acts: `"l2"` adds its multiple of the parameter to the gradient, `"decoupled"`
            subtracts its multiple of the parameter, times the learning rate, from the change.
        reads_parameters: whether `update` reads the parameter's value.
        rows: the type that gradients of single rows must have; None for dense gradients.
    """
    check_flag(name, "maximize", maximize)
    given = checked(name, ranges, given)
    zeros = () if callable(buffers) else buffers
    names, first_scalars = buffer_names(state_type), scalars or {}
    # A tree without leaves, such as the placeholder of `optax.tree.map_params`, has all buffers.
    every = names if callable(buffers) else buffers
    if decay and is_zero(given["weight_decay"]):
        decay = None
    needs_parameters = reads_parameters or decay is not None

    def first_buffers(parameter: jax.Array) -> Buffers:
        return buffers(parameter) if callable(buffers) else {key: jnp.zeros_like(parameter) for key in buffers}

    def rate(count: jax.Array) -> jax.Array:
        return at_count(name, given, count)["lr"]

    def numbers(count: jax.Array, step: jax.Array, current: dict[str, jax.Array]) -> dict[str, Any]:
        """All that `update` reads from its `h`, and the next scalars of the state."""
        known = at_count(name, given, count)
        own = derived(as_float64(step), namespace(known | {key: as_float64(value) for key, value in current.items()}))
        if decay == "decoupled":
            own["decay"] = known["lr"] * known["weight_decay"]
        return known | own

    @jax.jit  # Traced once for all parameters of one shape and dtype.
    def moved(g: jax.Array, p: jax.Array | None, old: Buffers, h: dict[str, Any]) -> tuple[jax.Array, Buffers]:
        """The change of one parameter and its new buffers, computed in the working dtype, stored in their own."""
        dtype, kept = _working_dtype(g, p), g.dtype if p is None else p.dtype
        known = namespace(h)
        gradient = g.astype(dtype)
        if maximize:
            gradient = -gradient
        if decay == "l2":
            gradient = gradient + known.weight_decay * jnp.asarray(p, dtype)
        wide = dict.fromkeys(names) | {key: buffer.astype(dtype) for key, buffer in old.items()}
        change, new = update(gradient, p, namespace(wide), known)
        if decay == "decoupled":
            change = change - known.decay * jnp.asarray(p, dtype)
        return change.astype(kept), {key: buffer.astype(old[key].dtype) for key, buffer in new.items()}

    def init(params: optax.Params) -> Any:
        check_floating(name, params)
        leaves, structure = jax.tree.flatten(params)
        count = jnp.zeros((), jnp.int32)
        return state_type(
            count=count,
            step=jnp.zeros((), jnp.int32),
            lr=in_float64(rate, count, dtype=default_float()),
            **{key: jnp.full((), value, default_float()) for key, value in first_scalars.items()},
            **by_name([first_buffers(leaf) for leaf in leaves], structure, every),
        )

    def apply(updates: optax.Updates, state: Any, params: optax.Params | None = None) -> tuple[optax.Updates, Any]:
        check_state(name, state_type, zeros, state)
        if params is None and needs_parameters:
            reason = "" if reads_parameters else " for its weight_decay, which may be above 0"
            raise ValueError(f"{name} needs the parameters{reason}: call update(gradients, state, params)")
        structure = jax.tree.structure(updates if params is None else params)
        gradients = leaves_of_gradients(name, structure, updates)
        parameters: list[Any] = [None] * len(gradients) if params is None else structure.flatten_up_to(params)
        trees = {key: getattr(state, key) for key in names}
        check_number(name, len(gradients), state.step, trees.values())
        made = {
            key: leaves_like(name, f"{key} of the state", structure, tree, "Call init again with these parameters")
            for key, tree in trees.items()
            if tree is not None
        }
        old = by_leaf(made, structure)
        # Without the parameter, take the shape from its first buffer.
        like = [
            next(iter(own.values()), None) if parameter is None else parameter
            for parameter, own in zip(parameters, old, strict=True)
        ]
        check_gradients(name, gradients, like, structure, rows=rows)
        if zeros:
            check_shapes(name, parameters, old)
        dtypes = [_working_dtype(*pair) for pair in zip(gradients, parameters, strict=True)]

        # A parameter without a gradient neither moves nor counts the step. Without buffers the count is not used.
        present = np.array([gradient is not None for gradient in gradients])
        shared = bool(present.all()) or number_of_leaves(trees.values()) is None
        following_step = increased(state.step)
        step = following_step if shared else jnp.where(present, following_step, state.step)
        current = {key: getattr(state, key) for key in first_scalars}
        rounded = in_float64_for({*dtypes, default_float()}, numbers, state.count, step, current)
        following = {
            key: rounded[default_float()][key]
            if shared
            else jnp.where(present, rounded[default_float()][key], current[key])
            for key in first_scalars
        }

        changes, new = [], []
        for index, (gradient, parameter, dtype) in enumerate(zip(gradients, parameters, dtypes, strict=True)):
            if gradient is None:
                changes.append(jnp.zeros_like(parameter))
                new.append(old[index])
                continue
            h = rounded[dtype]
            own = jax.tree.map(lambda value, index=index: _own(value, index), h) if step.ndim else h
            change, fresh = moved(gradient, parameter, old[index], own)
            changes.append(change)
            new.append(fresh)

        state = state_type(
            count=increased(state.count),
            step=step,
            lr=rounded[default_float()]["lr"],
            **following,
            **by_name(new, structure, every),
        )
        return structure.unflatten(changes), state

    return optax.GradientTransformation(init, jax.named_call(apply, name=name))


def _own(value: jax.Array, index: int) -> jax.Array:
    """A parameter's element of a vector of scalars, or the scalar that all share."""
    return lax.index_in_dim(value, index, keepdims=False) if value.ndim else value


def _working_dtype(gradient: jax.Array | None, parameter: jax.Array | None) -> jnp.dtype:
    """The dtype of a parameter's arithmetic: its own, but at least float32, as in PyTorch's kernels."""
    return at_least_float32(*(array.dtype for array in (gradient, parameter) if array is not None))
