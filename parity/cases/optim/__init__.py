"""Cases of `jaxtrain.optim`, one file a theme."""

from parity.case import Case
from parity.cases.optim import (
    adam,
    adam_relatives,
    adaptive,
    averaging,
    clipping,
    groups,
    lbfgs,
    matrix,
    sgd,
    sparse_adam,
)

CASES: list[Case] = [
    *sgd.CASES,
    *adam.CASES,
    *adam_relatives.CASES,
    *adaptive.CASES,
    *matrix.CASES,
    *sparse_adam.CASES,
    *lbfgs.CASES,
    *groups.CASES,
    *averaging.CASES,
    *clipping.CASES,
]
