"""Cases of `jaxtrain.losses`, one file a theme."""

from parity.case import Case
from parity.cases.losses import regression

CASES: list[Case] = [*regression.CASES]
