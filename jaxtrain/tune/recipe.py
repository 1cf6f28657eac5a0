"""A recipe: everything about a run that its hyper-parameters decide."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from jaxtrain.train.state import TrainState
from jaxtrain.train.step import LossFn


class Start(NamedTuple):
    """What a recipe returns: the state before the first step, and the loss to minimize."""

    state: TrainState
    loss_fn: LossFn


Recipe = Callable[..., Any]
"""A function of hyper-parameters that returns a `TrainState` and a `loss_fn`."""


def start(where: str, recipe: Recipe, values: Mapping[str, Any]) -> Start:
    """Call a recipe; raise unless it returns what a run needs."""
    if not callable(recipe):
        raise TypeError(f"{where}: recipe must be a function of hyper-parameters, got {recipe!r}")
    try:
        made: Any = recipe(**values)
    except jax.errors.ConcretizationTypeError as error:
        error.add_note(
            f"{where}: the recipe is traced, and its hyper-parameters are JAX arrays; what needs a number of Python, "
            "such as a shape or a choice, needs a run for each value"
        )
        raise
    match made:
        case (TrainState() as state, loss_fn) if callable(loss_fn):
            return Start(state, loss_fn)
    shown = [type(part).__name__ for part in made] if isinstance(made, tuple) else type(made).__name__
    raise TypeError(f"{where}: recipe must return a TrainState and a loss_fn, got {shown}")
