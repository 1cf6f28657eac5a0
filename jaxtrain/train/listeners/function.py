"""A function as a listener, called after each epoch."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxtrain.train.listeners.protocol import Listener
from jaxtrain.train.state import TrainState

Hears = Listener | Callable[[dict[str, float]], Any]
"""What `fit` takes as a listener."""


class Function(Listener):
    """Calls a function with the entries of each epoch; `fit` makes one of each function among its listeners.

    Args:
        function: `function(entries)` gets a dict, `{"epoch": 0, "loss": 0.5, ...}`. It may raise `StopRun`. What it
            returns does not matter.

    PyTorch: none.
    """

    def __init__(self, function: Callable[[dict[str, float]], Any]) -> None:
        self._function = function

    def epoch_ended(self, epoch: int, entries: Mapping[str, float], state: TrainState) -> None:
        self._function(dict(entries))


def as_listener(given: Any) -> Listener:
    """A listener as it is, a function as a `Function`; raise unless it is one of them."""
    if isinstance(given, Listener):
        return given
    if isinstance(given, type) and issubclass(given, Listener):
        raise TypeError(
            f"fit: listeners must be jaxtrain.train.Listener objects or functions, got the class {given.__name__}; "
            f"make one: {given.__name__}(...)"
        )
    if not callable(given) or isinstance(given, type):
        raise TypeError(f"fit: listeners must be jaxtrain.train.Listener objects or functions, got {given!r}")
    return Function(given)
