"""Optimizers that round to float32 where the run has more digits."""

import optax

from parity.diff.jax_side import JaxSide


def float32_casts(side: JaxSide, optimizer: optax.GradientTransformation | None) -> list[str]:
    """The lines of an optimizer on which it rounds to float32 in a run in float64."""
    if optimizer is None or side.dtype == "float32":
        return []
    return [line for dtype, line in side.optimizer_casts(optimizer) if dtype == "float32"]
