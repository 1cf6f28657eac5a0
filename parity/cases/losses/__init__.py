"""Cases of `jaxtrain.losses`, one file a theme."""

from parity.case import Case
from parity.cases.losses import (
    binary,
    classification,
    embedding,
    linear,
    margin,
    probabilistic,
    regression,
    sequence,
)

CASES: list[Case] = [
    *regression.CASES,
    *classification.CASES,
    *linear.CASES,
    *binary.CASES,
    *probabilistic.CASES,
    *embedding.CASES,
    *margin.CASES,
    *sequence.CASES,
]
