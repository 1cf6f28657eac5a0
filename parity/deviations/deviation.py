"""An intentional deviation from PyTorch, with an example that both sides execute."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from parity._quiet import quietly


@dataclass(frozen=True)
class Deviation:
    """One difference.

    Attributes:
        component: public name below `jaxtrain`.
        situation: when the two differ.
        reason: why ours is better.
        ours: an example; its value is printed.
        torch: the same in PyTorch; its value, or the error that it raises.
    """

    component: str
    situation: str
    reason: str
    ours: Callable[[], Any]
    torch: Callable[[], Any]

    def row(self) -> str:
        """The difference, measured now, as a row of Markdown."""
        return f"| `{self.component}` | {self.situation} | {shown(self.ours)} | {shown(self.torch)} | {self.reason} |"


@cache
def shown(example: Callable[[], Any]) -> str:
    """The value of an example to six digits, or the name of the error that it raises."""
    try:
        value = quietly(example)()
    except (ArithmeticError, LookupError, RuntimeError, ValueError) as error:
        return f"`{type(error).__name__}`"
    numbers = np.atleast_1d(np.asarray(value.detach() if isinstance(value, torch.Tensor) else value, np.float64))
    text = ", ".join(f"{number + 0.0:.6g}" for number in numbers)
    return text if len(numbers) == 1 else f"[{text}]"
