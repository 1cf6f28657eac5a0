"""A recipe: everything about a run that its hyper-parameters decide."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

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
    made: Any = recipe(**values)
    match made:
        case (TrainState() as state, loss_fn) if callable(loss_fn):
            return Start(state, loss_fn)
    shown = [type(part).__name__ for part in made] if isinstance(made, tuple) else type(made).__name__
    raise TypeError(f"{where}: recipe must return a TrainState and a loss_fn, got {shown}")
