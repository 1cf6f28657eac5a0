"""Cases of `jaxtrain.regularization`."""

from parity.case import Case

CASES: list[Case] = []
