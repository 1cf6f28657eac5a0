"""Cases of `jaxtrain.schedules`."""

from parity.case import Case

CASES: list[Case] = []
