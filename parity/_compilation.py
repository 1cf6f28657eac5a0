"""How XLA compiles the two runs of a case on a CPU."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax

KEPT = 64
"""How many programs a kind of cases keeps: those of one case and its planted defects serve all seeds."""


def compiler_options(dtype: str) -> dict[str, Any]:
    """Little optimization for the formula verdict, in float64, where rounding does not matter: it takes a fifth of the
    time. For the precision verdict what users get, whatever the flags of the process say: sums then have their order.
    """
    if jax.default_backend() != "cpu":
        return {}
    exact = dtype == "float64"
    return {"xla_backend_optimization_level": 0 if exact else 3, "xla_cpu_use_fusion_emitters": not exact}


@cache
def compiled(function: Callable[..., Any], dtype: str, static_argnums: tuple[int, ...]) -> jax.stages.Wrapped:
    """`function` as a program with the options of a run in `dtype`; the same one for the same arguments."""
    return jax.jit(function, static_argnums=static_argnums, compiler_options=compiler_options(dtype))
