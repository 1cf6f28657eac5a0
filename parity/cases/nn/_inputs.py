"""Inputs that the cases of the layers share."""

from collections.abc import Sequence

import numpy as np

from parity.draws import generator

MOMENTS = ((0.0, 1.0), (3.0, 2.0), (-0.5, 1e-2))
"""Means and deviations of the steps' inputs; the last variance is not large beside the usual epsilons."""


def normal(shape: tuple[int, ...], moments: Sequence[tuple[float, float]] = MOMENTS) -> list[np.ndarray]:
    """Normal numbers, exact in float32: one array of `shape` for each mean and deviation.

    Each shape has its own numbers. A bias of the same ones as a row of the kernel would cancel it for some inputs.
    """
    rng = generator(0, *shape)
    return [(mean + deviation * rng.normal(size=shape)).astype(np.float32) for mean, deviation in moments]
