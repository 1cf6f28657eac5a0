"""Intentional deviations from PyTorch, one file a room."""

from parity.deviations import losses, nn, optim, schedules
from parity.deviations.deviation import Deviation as Deviation
from parity.deviations.deviation import shown as shown

DEVIATIONS: list[Deviation] = [
    *losses.DEVIATIONS,
    *optim.DEVIATIONS,
    *schedules.DEVIATIONS,
    *nn.DEVIATIONS,
]


def markdown() -> str:
    """The table, measured now."""
    header = ["| component | when | jaxtrain | PyTorch | why |", "|---|---|---|---|---|"]
    return "\n".join([*header, *(deviation.row() for deviation in DEVIATIONS)]) + "\n"
