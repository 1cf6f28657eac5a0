"""One compiled program for all configurations of a function that differ in their numbers only.

Compiling is what a comparison costs. `optim.adam` and `partial(optim.adam, lr=0.1)` tell more than `lambda:
optim.adam(lr=0.1)` does: here their floats, defaults included, become arguments of the compiled program, which then
serves every other learning rate as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Program:
    """A call of `function` in which every float but zero is left open.

    Zeros stay, as the plain 0 with which a feature is left out of a program.

    Attributes:
        function: what is called.
        constants: its other arguments, flat, with `Program.OPEN` where a float goes.
        structure: of all its arguments, positional and by name.
    """

    function: Callable[..., Any]
    constants: tuple[Any, ...]
    structure: jax.tree_util.PyTreeDef  # pyright: ignore[reportInvalidTypeForm] JAX's stub has it as a variable.

    OPEN = object()

    def __call__(self, numbers: list[jax.Array]) -> Any:
        remaining = iter(numbers)
        leaves = [next(remaining) if leaf is self.OPEN else leaf for leaf in self.constants]
        args, kwargs = jax.tree.unflatten(self.structure, leaves)
        return self.function(*args, **kwargs)


def program(call: Callable[[], Any]) -> tuple[Program, list[jax.Array]]:
    """`call`, without arguments, as a program and the numbers that it is to be called with, in float64."""
    function, args, kwargs = (call.func, call.args, call.keywords) if isinstance(call, partial) else (call, (), {})
    bound = signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    leaves, structure = jax.tree.flatten((bound.args, bound.kwargs))
    is_open = [isinstance(leaf, float) and leaf != 0 for leaf in leaves]
    constants = tuple(Program.OPEN if opened else leaf for opened, leaf in zip(is_open, leaves, strict=True))
    with jax.enable_x64(True):
        numbers = [jnp.float64(leaf) for opened, leaf in zip(is_open, leaves, strict=True) if opened]
    return Program(function, constants, structure), numbers
