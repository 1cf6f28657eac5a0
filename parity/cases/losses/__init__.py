"""Cases of `jaxtrain.losses`, one file a theme."""

from parity.case import Case
from parity.cases.losses import binary, classification, probabilistic, regression

CASES: list[Case] = [*regression.CASES, *classification.CASES, *binary.CASES, *probabilistic.CASES]
