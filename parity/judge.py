"""Both verdicts on what both sides computed, from one set of inputs or from several."""

import math
from collections.abc import Sequence
from dataclasses import replace

from parity.precision import Draw, precision_verdict
from parity.verdicts import FORMULA_LIMIT, PRECISION_FACTOR, Measurement, formula_verdict


def judge(
    draws: Sequence[Draw],
    *,
    formula_limit: float = FORMULA_LIMIT,
    factor: float = PRECISION_FACTOR,
    dtype: str = "float32",
) -> Measurement:
    """Both verdicts on all draws.

    The formula is judged on each draw that has `ours64`, the precision on those with `ours` and `torch` together. The
    second verdict is left out if the first fails.

    Args:
        draws: the results of both sides.
        formula_limit: the largest float64 error allowed, in units.
        factor: how many times PyTorch's error ours may be in low precision.
        dtype: the low precision.

    Returns:
        What was found, with NaN for the errors of a verdict that was left out.
    """
    worst = math.nan
    for draw in draws:
        if draw.ours64 is not None:
            error, difference = formula_verdict(draw.ours64, draw.truth, draw.units, formula_limit, draw.by_rounding)
            worst = error if math.isnan(worst) else max(worst, error)
            if difference:
                return Measurement(worst, math.nan, math.nan, replace(difference, source=draw.source))
    rounded = [draw for draw in draws if draw.ours is not None]
    if not rounded:
        return Measurement(worst, math.nan, math.nan)
    return Measurement(worst, *precision_verdict(rounded, factor, dtype))
