"""A recipe: everything about a run that its hyper-parameters decide."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from jaxtrain.train.state import TrainState
from jaxtrain.train.step import LossFn


class Start(NamedTuple):
    """What a recipe returns: the state before the first step, and the loss to minimize."""

    state: TrainState
    loss_fn: LossFn


Recipe = Callable[..., Any]
"""A function of hyper-parameters that returns a `TrainState` and a `loss_fn`."""


_TRACED = (
    "This hyper-parameter is traced: it may be a number in the optimizer, the loss, a layer or the initial values, but "
    "may not decide a shape or an `if`, nor become a Python number. What does needs a sweep for each value, or in a "
    "search an integer or a choice. A seed goes through a key: nnx.Rngs(jax.random.key(seed))."
)

_SCHEDULE = (
    "This hyper-parameter is a schedule, a function of the step: give it to the optimizer as it is. To scale a rate, "
    "scale low and high."
)


def start(where: str, recipe: Recipe, values: Mapping[str, Any]) -> Start:
    """Call a recipe; raise unless it returns what a run needs."""
    if not callable(recipe):
        raise TypeError(f"{where}: recipe must be a function of hyper-parameters, got {recipe!r}")
    try:
        made: Any = recipe(**values)
    except Exception as error:
        shown = ", ".join(values)
        if any(map(callable, values.values())) and isinstance(error, TypeError):
            error.add_note(f"{where}, in recipe({shown}): {_SCHEDULE}")
        elif re.search("[Tt]race", str(error)):
            error.add_note(f"{where}, in recipe({shown}): {_TRACED}")
        raise
    match made:
        case (TrainState() as state, loss_fn) if callable(loss_fn):
            return Start(state, loss_fn)
    shown = [type(part).__name__ for part in made] if isinstance(made, tuple) else type(made).__name__
    raise TypeError(f"{where}: recipe must return a TrainState and a loss_fn, got {shown}")


def check_recipe(where: str, recipe: Any, names: Iterable[str]) -> None:
    """Raise unless a recipe is a function of these hyper-parameters."""
    if not callable(recipe):
        raise TypeError(
            f"{where}: recipe must be a function of hyper-parameters that returns a TrainState and a loss_fn, got "
            f"{recipe!r}"
        )
    try:
        signature = inspect.signature(recipe)
    except (TypeError, ValueError):  # A builtin has no signature.
        return
    try:
        signature.bind(**dict.fromkeys(names))
    except TypeError as error:
        raise TypeError(
            f"{where}: expected a recipe that takes {', '.join(names)}, got recipe{signature}: {error}; name the "
            "values as the recipe names its arguments"
        ) from None
