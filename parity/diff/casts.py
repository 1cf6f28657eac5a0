"""Casts in a JAX program: where a value loses digits, and on which line."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
from jax.extend import source_info_util

ERRORS = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-24}
"""Of one rounding."""


def casts_of(jaxpr: Any) -> Iterator[tuple[str, str]]:
    """Every cast of a float to one with fewer digits, with the line of the source that makes it."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "convert_element_type":
            before, after = equation.invars[0].aval.dtype, equation.outvars[0].aval.dtype
            floats = jnp.issubdtype(before, jnp.floating) and jnp.issubdtype(after, jnp.floating)
            if floats and jnp.finfo(after).bits < jnp.finfo(before).bits and str(after) in ERRORS:
                yield str(after), _line(equation)
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from casts_of(inner)


def _line(equation: Any) -> str:
    return source_info_util.summarize(equation.source_info)
