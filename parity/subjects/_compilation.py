"""How XLA compiles the two runs of a case on a CPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import jax

_FULL = ContextVar("full", default=False)


def compiler_options(dtype: str) -> dict[str, Any]:
    """Little optimization for the formula verdict, in float64, where rounding does not matter: it takes a fifth of the
    time. For the precision verdict what XLA does by itself, or is told to do by the flags of the process.
    """
    if jax.default_backend() != "cpu":
        return {}
    if dtype == "float64":
        return {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
    return {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True} if _FULL.get() else {}


def compiled(function: Callable[..., Any], dtype: str, static_argnums: tuple[int, ...]) -> Callable[..., Any]:
    """`function` as a program with the options of a run in `dtype`; the same one for the same arguments."""
    return _compiled(function, static_argnums, tuple(compiler_options(dtype).items()))


@cache
def _compiled(
    function: Callable[..., Any], static_argnums: tuple[int, ...], options: tuple[tuple[str, Any], ...]
) -> Callable[..., Any]:
    return jax.jit(function, static_argnums=static_argnums, compiler_options=dict(options))


@contextmanager
def full_optimization() -> Iterator[None]:
    """Inside, the precision verdict is that of XLA's own optimization, whatever the flags of the process."""
    token = _FULL.set(True)
    try:
        yield
    finally:
        _FULL.reset(token)
