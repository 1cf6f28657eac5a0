"""Cases of `jaxtrain.nn`."""

from parity.case import Case

CASES: list[Case] = []
