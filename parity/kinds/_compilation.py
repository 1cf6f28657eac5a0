"""How XLA compiles the two runs of a case on the CPU."""

from typing import Any

import jax


def compiler_options(dtype: str) -> dict[str, Any]:
    """Little optimization for the formula verdict, in float64, where rounding does not matter; it takes a third of the
    time. XLA's own choice for the precision verdict, by name, because a test run may choose otherwise for the rest.
    """
    if jax.default_backend() != "cpu":
        return {}
    formula = dtype == "float64"
    return {
        "xla_backend_optimization_level": 0 if formula else 3,
        "xla_cpu_use_fusion_emitters": not formula,
    }
