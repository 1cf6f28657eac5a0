"""The names of layers in profiles."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import jax

Layer = TypeVar("Layer")
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def named(
    call: Callable[Concatenate[Layer, Arguments], Result],
) -> Callable[Concatenate[Layer, Arguments], Result]:
    """A layer's method, with the name of the layer's class on all its operations in profiles and compiled programs."""

    @functools.wraps(call)
    def in_scope(layer: Layer, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with jax.named_scope(type(layer).__name__):
            return call(layer, *args, **kwargs)

    return in_scope
