"""Cases of `jaxtrain.nn`, one file a layer."""

from parity.case import Case
from parity.cases.nn import batch_norm, dropout, layer_norm, linear

CASES: list[Case] = [*linear.CASES, *dropout.CASES, *batch_norm.CASES, *layer_norm.CASES]
