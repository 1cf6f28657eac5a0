"""Cases of `jaxtrain.losses`."""

from parity.case import Case

CASES: list[Case] = []
