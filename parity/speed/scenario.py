"""What is measured: a program of ours, and the counterpart's program that does the same work."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple


class Program(NamedTuple):
    """A function to compile, and what it is called with.

    Attributes:
        function: a traceable function.
        arguments: its arguments, arrays or pytrees of arrays.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Scenario:
    """Two programs to compare.

    Attributes:
        component: ours, with its room, such as "optim.adamw".
        configuration: arguments and shapes that matter, for the reader.
        counterpart: what ours is compared with, for the reader.
        ours: makes our program.
        theirs: makes the counterpart's.
        parameters: number of parameter arrays, where the scenario comes in several sizes.
    """

    component: str
    configuration: str
    counterpart: str
    ours: Callable[[], Program]
    theirs: Callable[[], Program]
    parameters: int | None = None

    @property
    def name(self) -> str:
        return f"{self.component}[{self.configuration}]" if self.configuration else self.component

    @property
    def room(self) -> str:
        return self.component.partition(".")[0]
