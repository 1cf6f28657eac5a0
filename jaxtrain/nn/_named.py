"""Names of layers in profiles."""

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
    """Label all operations of a layer's method with the layer's class, in profiles and compiled programs."""

    @functools.wraps(call)
    def in_scope(layer: Layer, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with jax.named_scope(type(layer).__name__):
            return call(layer, *args, **kwargs)

    return in_scope
