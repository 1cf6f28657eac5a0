"""How XLA compiles the two runs of a case, and the tests, on a CPU."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax

KEPT = 64
"""How many programs a kind of cases keeps: those of one case and its planted defects serve all seeds."""

FUSES_BY_CHOICE = jax.__version_info__ < (0, 11)
"""Whether XLA asks in which of two ways to fuse operations; since JAX 0.11 it has one way, and no such flag."""

QUICK = (
    "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    f"{' --xla_cpu_use_fusion_emitters=false' if FUSES_BY_CHOICE else ''}"
)
"""Flags with which XLA optimizes little: compiling is most of a test's time."""


def compiler_options(dtype: str) -> dict[str, Any]:
    """Little optimization for the formula verdict, in float64, where rounding does not matter: it takes a fifth of the
    time. For the precision verdict what users get, whatever the flags of the process say: sums then have their order.
    """
    if jax.default_backend() != "cpu":
        return {}
    exact = dtype == "float64"
    fusion = {"xla_cpu_use_fusion_emitters": not exact} if FUSES_BY_CHOICE else {}
    return {"xla_backend_optimization_level": 0 if exact else 3} | fusion


@cache
def compiled(function: Callable[..., Any], dtype: str, static_argnums: tuple[int, ...]) -> jax.stages.Wrapped:
    """`function` as a program with the options of a run in `dtype`; the same one for the same arguments."""
    return jax.jit(function, static_argnums=static_argnums, compiler_options=compiler_options(dtype))
