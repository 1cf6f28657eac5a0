"""Cases of `jaxtrain.interop`: runs that change the framework half way, in both directions."""

from parity.case import Case
from parity.cases.takeover import lbfgs, optimizers, schedules

CASES: list[Case] = [*optimizers.CASES, *lbfgs.CASES, *schedules.CASES]
