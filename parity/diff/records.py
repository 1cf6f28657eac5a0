"""What is recorded of a step, the same for both sides."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Place = tuple[str, int]
"""The path of a layer, and which of its calls in a step."""


@dataclass
class Call:
    """One call of a layer.

    Attributes:
        path: of the layer, in its own model.
        number: which of its calls in the step.
        kind: the class of the layer.
        arguments: what it was called with, arrays included, in a form that its side can replay.
        inputs: the arrays among the arguments, in order.
        outputs: the arrays that it returned, in order.
        output_gradients: of the loss with respect to each output; None where none arrives.
        shape: the structure of what was returned, in the form of its side.
        within: the calls around it, outermost first.
        maps: the `jax.vmap`s around it, on JAX's side.
        rate: of a dropout layer.
        dropped: what a dropout layer returned, where its input took the place of that.
    """

    path: str
    number: int
    kind: str
    arguments: Any
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]
    output_gradients: list[np.ndarray | None] = field(default_factory=list)
    shape: Any = None
    within: tuple[Place, ...] = ()
    maps: Any = ()
    rate: float | None = None
    dropped: np.ndarray | None = None

    @property
    def place(self) -> Place:
        return self.path, self.number


@dataclass
class Step:
    """One training step.

    Attributes:
        calls: of layers, in the order in which they returned.
        loss: a number.
        gradients: of parameters, by PyTorch's names.
        buffers: after the step, by PyTorch's names.
        parameters: after the step, by PyTorch's names; as they were if there is no optimizer.
        rate: the learning rate, where it is known.
    """

    calls: list[Call]
    loss: float
    gradients: dict[str, np.ndarray]
    buffers: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray] = field(default_factory=dict)
    rate: float | None = None


@dataclass
class Replayed:
    """What one layer computes alone.

    Attributes:
        outputs: in the layout of its side.
        input_gradients: of the floating inputs; None where an input is not one.
        parameter_gradients: by PyTorch's full names, in PyTorch's layout.
        buffers: after the call, likewise.
        inner: the inputs of the layers inside, for the place where a parent goes wrong.
    """

    outputs: list[np.ndarray]
    input_gradients: list[np.ndarray | None] = field(default_factory=list)
    parameter_gradients: dict[str, np.ndarray] = field(default_factory=dict)
    buffers: dict[str, np.ndarray] = field(default_factory=dict)
    inner: dict[Place, list[np.ndarray]] = field(default_factory=dict)
