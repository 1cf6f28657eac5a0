"""What a run computes: arrays by typed names, in the order of computation."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Quantity:
    """What an array holds.

    Attributes:
        kind: what is measured, such as `parameter`, `exp_avg`, `gradient`, `output`, `value` or `rate`.
        path: of which part of the model or of the inputs; empty if there is only one.
    """

    kind: str
    path: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.path!r}" if self.path else self.kind


Trace = Mapping[Quantity, np.ndarray]
"""Arrays whose first axis is the step; the order of the keys is the order of computation."""
