"""A wrong part of a port, and its cause."""

from dataclasses import dataclass

from parity.diff.arrays import Compared


@dataclass(frozen=True)
class Cause:
    """What the port does, found by experiment.

    Attributes:
        says: what the port computes, and what PyTorch does.
        fix: the line to change.
        complete: whether it explains the gradients, too, not the outputs alone.
    """

    says: str
    fix: str
    complete: bool = True

    def __str__(self) -> str:
        return f"{self.says}; {self.fix}" + ("" if self.complete else " (the gradients differ in another way, too)")


@dataclass(frozen=True)
class Finding:
    """A part of the port that is wrong by itself.

    Attributes:
        part: "parameter", "layer", "loss" or "optimizer".
        path: PyTorch's path of the layer or parameter.
        ours: our path of it.
        kind: the class of the layer.
        worst: its first quantity that differs.
        cause: why; None if no known mistake explains it.
        inside: for a layer with layers inside, between which of them it goes wrong.
    """

    part: str
    path: str
    ours: str
    kind: str
    worst: Compared
    cause: Cause | None = None
    inside: str = ""

    @property
    def name(self) -> str:
        if self.part == "layer":
            return self.path or "the model itself"
        return f"{self.part} {self.path}".strip()
