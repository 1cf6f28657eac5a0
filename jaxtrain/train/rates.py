"""Where a state keeps the learning rate, and how to set it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import DictKey, GetAttrKey, KeyPath
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxtrain._ground.checks import check_scalar
from jaxtrain.train._leaves import sent
from jaxtrain.train.state import TrainState, check_state


def learning_rates(state: TrainState) -> dict[str, float]:
    """The learning rate of the last update, read from the optimizer's state.

    It is found by name, at any depth of `optax.chain`, `masked`, `partition` or `inject_hyperparams`: the field `lr` of
    jaxtrain's optimizers, or the entry `lr` or `learning_rate` of `inject_hyperparams`.

    Args:
        state: any training state. Reading waits for the step that made it.

    Returns:
        `{"lr": rate}`; with the groups of `optax.partition`, `{"lr/<group>": rate, ...}`; empty if no rate is found,
        as with Optax's own optimizers, which do not keep it.

    Example:
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.5)
        >>> train.learning_rates(train.TrainState.create(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), optimizer))
        {'lr': 0.5}

    PyTorch: `scheduler.get_last_lr()`.
    """
    check_state("learning_rates", state)
    return {name: float(rate) for name, rate in rates_of(state).items()}


def rates_of(state: TrainState) -> dict[str, Array]:
    """The rates of `learning_rates` as arrays, on their way to the host."""
    leaves, structure = jax.tree.flatten(state.opt_state)
    return sent({name: leaves[index] for name, index in _rates_in(structure).items()})


def set_learning_rate(state: TrainState, lr: ArrayLike) -> TrainState:
    """Set the learning rate that the optimizer keeps in its state.

    Args:
        state: a training state whose optimizer was made by `optax.inject_hyperparams`, at any depth.
        lr: the rate, a number of at least 0.

    Returns:
        The state with this rate, wherever `learning_rates` finds one that can be set. The other arrays are shared.

    Raises:
        ValueError: if there is none: without `inject_hyperparams`, or if a schedule sets it at every step; or if `lr`
            is not a number of at least 0.

    Example:
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.5)
        >>> state = train.TrainState.create(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), optimizer)
        >>> train.learning_rates(train.set_learning_rate(state, 0.25))
        {'lr': 0.25}

    PyTorch: `for group in optimizer.param_groups: group["lr"] = lr`.
    """
    check_state("set_learning_rate", state)
    check_scalar("set_learning_rate", "lr", lr, 0.0)
    return _with_rates("set_learning_rate", state, lambda leaf: jnp.array(lr, leaf.dtype))


def scale_learning_rates(where: str, state: TrainState, factor: float) -> TrainState:
    """The state with every rate that `set_learning_rate` sets multiplied by a factor; errors begin with `where`."""
    return _with_rates(where, state, lambda leaf: leaf * jnp.array(factor, leaf.dtype))


def _with_rates(where: str, state: TrainState, new: Callable[[Array], Array]) -> TrainState:
    """The state whose rates, if they can be set, are what a function makes of them."""
    paths = [path for path, _ in jax.tree.leaves_with_path(state.opt_state)]
    # Where a schedule sets a hyper-parameter, its state is at the same place as the number.
    scheduled = {
        (*path[:index], path[index + 1])
        for path in paths
        for index, entry in enumerate(path)
        if entry == GetAttrKey("hyperparams_states")
    }
    settable = {path for path in paths if _is_injected(path) and (*path[:-2], path[-1]) not in scheduled}
    if not settable:
        raise ValueError(
            f"{where}: expected an optimizer that keeps its learning rate as a number in its state, got one without, "
            "or with a schedule; make it with optax.inject_hyperparams(optim.sgd)(lr=0.1)"
        )
    opt_state = jax.tree_util.tree_map_with_path(
        lambda path, leaf: new(leaf) if path in settable else leaf, state.opt_state
    )
    return dataclasses.replace(state, opt_state=opt_state)


@functools.lru_cache(maxsize=64)
def _rates_in(structure: Any) -> dict[str, int]:
    """Which leaves are rates, by their names."""
    rates: dict[str, int] = {}
    for path, index in jax.tree.leaves_with_path(jax.tree.unflatten(structure, range(structure.num_leaves))):
        if _is_rate(path):
            groups = [str(entry.key) for entry in path[:-1] if isinstance(entry, DictKey)]
            rates.setdefault("/".join(["lr", *groups]), index)
    return rates


def _is_rate(path: KeyPath) -> bool:
    return _is_injected(path) or path[-1:] == (GetAttrKey("lr"),)


def _is_injected(path: KeyPath) -> bool:
    """Whether a leaf is a rate that `optax.inject_hyperparams` keeps."""
    match path:
        case (*_, GetAttrKey(name="hyperparams"), DictKey(key="lr" | "learning_rate")):
            return True
    return False
