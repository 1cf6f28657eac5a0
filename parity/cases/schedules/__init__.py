"""Cases of `jaxtrain.schedules`, one file a theme."""

from parity.case import Case
from parity.cases.schedules import annealing, composition, cycles, decay, plateau

CASES: list[Case] = [
    *decay.CASES,
    *annealing.CASES,
    *cycles.CASES,
    *composition.CASES,
    *plateau.CASES,
]
