"""Run `fit` again after a loss that is not finite, if a listener asks for it."""

import functools
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from jaxtrain.train.listeners.guard import NonFiniteLossError
from jaxtrain.train.listeners.protocol import Listener

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def again_if_asked(fit: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`fit`, called again after a `NonFiniteLossError` if one of its listeners asks for it."""

    @functools.wraps(fit)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        listeners = kwargs.get("listeners")
        if isinstance(listeners, Iterable) and not isinstance(listeners, Listener):
            kwargs["listeners"] = listeners = list(listeners)  # An iterator would be empty the second time.
        while True:
            try:
                return fit(*args, **kwargs)
            except NonFiniteLossError as error:
                given = listeners if isinstance(listeners, list) else []
                if not any(one.tries_again(error) for one in given if isinstance(one, Listener)):
                    raise

    return call
