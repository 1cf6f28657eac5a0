"""The arithmetic of activations: floating-point only, at least float32."""

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

import jax

from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.nn._arrays import as_floating

Arguments = ParamSpec("Arguments")


def elementwise(
    function: Callable[Concatenate[Any, Arguments], jax.Array],
) -> Callable[Concatenate[Any, Arguments], jax.Array]:
    """Let a function refuse what is not floating-point, compute in at least float32 and return the input's dtype."""

    @functools.wraps(function)
    def computed(input: Any, *args: Arguments.args, **kwargs: Arguments.kwargs) -> jax.Array:
        input = as_floating(function.__name__, input)
        return function(input.astype(at_least_float32(input.dtype)), *args, **kwargs).astype(input.dtype)

    return computed
