"""A batch in parts: the gradients of a large batch in the memory of a small one."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Key, PyTree

from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.train.blueprint import Variables
from jaxtrain.train.metrics import Average
from jaxtrain.train.state import TrainState

MakeKey = Callable[[], Key[Array, ""]]
"""A function that derives the random key of a step, if it is called."""
Summands = TypeVar("Summands")
Metrics = dict[str, Average]
Objective = Callable[[nnx.Module, Any, Any], tuple[Float[Array, ""], Metrics]]
"""`objective(model, batch, key)` returns the loss, and the metrics including the loss; `key()` makes a random key."""
Place = Callable[[PyTree], PyTree]


def _where_it_is(part: PyTree) -> PyTree:
    return part


def gradients_of(
    objective: Objective, state: TrainState, batch: PyTree, parts: int, place: Place = _where_it_is
) -> tuple[Variables, Float[Array, ""], Metrics, TrainState]:
    """The gradients of the mean loss of a batch, the loss, all metrics, and the state with new running statistics."""
    if parts == 1:
        return state.gradients(objective, batch, state.step_key)

    def of_part(state: TrainState, part: PyTree) -> tuple[tuple[Variables, Metrics], TrainState]:
        def mean(model: nnx.Module, part: PyTree, key: MakeKey) -> tuple[Float[Array, ""], Metrics]:
            _, metrics = objective(model, part, key)
            total, count = jnp.asarray(metrics["loss"].total), jnp.asarray(metrics["loss"].count)
            # A part without a token to count has no mean.
            return total / jnp.where(count == 0, jnp.ones_like(count), count).astype(total.dtype), metrics

        gradients, _, metrics, state = state.gradients(mean, part, state.step_key)
        return (_times(gradients, metrics["loss"].count), metrics), state

    (gradients, metrics), state = over_parts(of_part, state, batch, parts, place)
    gradients = _times(gradients, 1 / jnp.asarray(metrics["loss"].count, jnp.float32))
    gradients = jax.tree.map(lambda leaf, param: leaf.astype(param.dtype), gradients, state.params)
    return gradients, jnp.asarray(metrics["loss"].value), metrics, state


def value_of(
    objective: Objective, state: TrainState, batch: PyTree, parts: int, place: Place = _where_it_is
) -> Float[Array, ""]:
    """The mean loss of a batch, for an optimizer that tries other parameters."""

    def of_part(state: TrainState, part: PyTree) -> tuple[tuple[Float[Array, ""], Metrics], TrainState]:
        model = state.blueprint.computing(state.params, state.model_state, state.key, state.step, train=True)
        return objective(model, part, state.step_key), state

    if parts == 1:
        return of_part(state, batch)[0][0]
    (_, metrics), _ = over_parts(of_part, state, batch, parts, place)
    return jnp.asarray(metrics["loss"].value)


def _times(gradients: Variables, number: Any) -> Variables:
    """The product, in at least float32."""

    def times(leaf: Array) -> Array:
        working = at_least_float32(leaf.dtype)
        return leaf.astype(working) * jnp.asarray(number, working)

    return jax.tree.map(times, gradients)


def over_parts(
    function: Callable[[TrainState, PyTree], tuple[Summands, TrainState]],
    state: TrainState,
    batch: PyTree,
    parts: int,
    place: Place = _where_it_is,
) -> tuple[Summands, TrainState]:
    """Add up what a function computes for the parts of a batch, one after the other.

    The parts have equally many rows, but for the last, which has the rest. Each has its own random numbers, and sees
    the running statistics that the one before it left.

    Args:
        function: `function(state, part)` returns a pytree to add up, and the state with new running statistics.
        state: the state before the first part.
        batch: a pytree of arrays with a common number of rows.
        parts: how many parts there are, unless the batch has fewer rows.
        place: spreads a part over devices: a piece of a batch lies on some of them only.

    Returns:
        The sums, and the state after the last part.
    """
    rows = _rows(batch)
    size = -(-rows // parts)
    whole, rest = divmod(rows, size)

    def add(carry: tuple[TrainState, Summands], number: ArrayLike, size_of_part: int) -> tuple[TrainState, Summands]:
        state, sums = carry
        part = jax.tree.map(
            lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, number * size, size_of_part) if jnp.ndim(leaf) else leaf,
            batch,
        )
        keyed = dataclasses.replace(state, key=jax.random.fold_in(state.key, number))
        summands, after = function(keyed, place(part))
        return dataclasses.replace(after, key=state.key), jax.tree.map(jnp.add, sums, summands)

    first = jax.tree.map(lambda leaf: leaf[:size] if jnp.ndim(leaf) else leaf, batch)
    shapes, _ = jax.eval_shape(function, state, first)
    carry = state, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    carry, _ = jax.lax.scan(lambda carry, number: (add(carry, number, size), None), carry, jnp.arange(whole))
    if rest:
        carry = add(carry, whole, rest)
    state, sums = carry
    return sums, state


def _rows(batch: PyTree) -> int:
    sizes = sorted({jnp.shape(leaf)[0] for leaf in jax.tree.leaves(batch) if jnp.ndim(leaf)})
    if len(sizes) != 1 or sizes == [0]:
        raise ValueError(
            f"accumulate: expected batches of arrays with one number of rows, at least 1, got the numbers {sizes}"
        )
    return sizes[0]
