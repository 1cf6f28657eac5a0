"""Casts inside a JAX layer, read from its program: where a value loses precision that the run has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from parity.diff.arrays import Compared
from parity.diff.casts import ERRORS
from parity.diff.forced import Forced
from parity.diff.jax_replay import layer_casts
from parity.diff.jax_side import JaxSide
from parity.diff.records import Call, Place


@dataclass(frozen=True)
class Rounding:
    """A cast to fewer digits.

    Attributes:
        dtype: to which.
        text: where, in words.
        fix: what to do.
        likely: whether it is one to half precision, and a difference of this size can come from it.
    """

    dtype: str
    text: str
    fix: str
    likely: bool


def rounding_cause(
    side: JaxSide,
    call: Call,
    inputs: Sequence[np.ndarray],
    forced: Forced,
    others: Mapping[Place, Call],
    worst: Compared,
) -> Rounding | None:
    """The cast to the fewest digits in a layer, if it has one that can explain the difference."""
    casts = list(layer_casts(side, call, inputs, forced, others))
    if not casts:
        return None
    dtype, line = max(casts, key=lambda cast: ERRORS[cast[0]])
    size = ERRORS[dtype]
    likely = size / 64 <= worst.error <= size * 64 + worst.rounding / ERRORS["float32"] * size * 4
    return Rounding(
        dtype,
        f"the layer computes in {dtype} ({line})",
        "remove the cast, or pass dtype=None, for the same precision as PyTorch",
        likely and dtype != "float32",
    )
