"""Casts in a JAX program: where a value loses digits, and on which line."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
from jax.extend import source_info_util

ERRORS = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-24}
"""Of one rounding."""


def casts_of(jaxpr: Any, *, counts: bool = False) -> Iterator[tuple[str, str]]:
    """Every cast of a float to one with fewer digits, with the line of the source that makes it.

    Args:
        jaxpr: the program.
        counts: whether integers that become float32 are casts, too, such as the number of a step that is divided by
            another integer.
    """
    for equation in jaxpr.eqns:
        if equation.primitive.name == "convert_element_type":
            before, after = equation.invars[0].aval.dtype, equation.outvars[0].aval.dtype
            floats = jnp.issubdtype(before, jnp.floating) and jnp.issubdtype(after, jnp.floating)
            fewer = floats and jnp.finfo(after).bits < jnp.finfo(before).bits
            if str(after) in ERRORS and (fewer or (counts and jnp.issubdtype(before, jnp.integer))):
                yield str(after), _line(equation)
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from casts_of(inner, counts=counts)


def _line(equation: Any) -> str:
    return source_info_util.summarize(equation.source_info)
