"""Averages of the parameters that do not see every step."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from jaxtrain._ground.checks import check_integer
from jaxtrain.train._ingredients import check_average
from jaxtrain.train.blueprint import Averaging


class AveragedEveryState(NamedTuple):
    """State of an `AveragedEvery`.

    Attributes:
        count: steps so far.
        average: the state of the average.
    """

    count: Int[Array, ""]
    average: Any

    @property
    def module(self) -> PyTree:
        """The averages of the parameters."""
        return self.average.module

    @property
    def buffers(self) -> PyTree:
        """The other variables of the model."""
        return self.average.buffers


@dataclasses.dataclass(frozen=True)
class AveragedEvery:
    """A running average that includes the parameters only after some of the steps.

    Args:
        average: the average, `jaxtrain.optim.averaged_model()` for instance.
        every: the steps from one inclusion of the parameters to the next, at least 1: the steps in an epoch for SWA.
        start: steps to leave out at first, at least 0. Default 0.

    Raises:
        TypeError: if `average` does not average parameters, or a number is not an integer.
        ValueError: if a number is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim, train
        >>> average = train.AveragedEvery(optim.averaged_model(), every=2, start=2)
        >>> state = average.init({"w": jnp.array(0.0)})
        >>> for w in range(1, 7):
        ...     state = average.update_parameters(state, {"w": jnp.array(float(w))})
        >>> float(state.module["w"])
        5.0

    PyTorch: `if epoch >= swa_start: swa_model.update_parameters(model)` at the end of each epoch.
    """

    average: Averaging
    every: int
    start: int = 0

    def __post_init__(self) -> None:
        check_average("AveragedEvery", self.average)
        check_integer("AveragedEvery", "every", self.every, 1)
        check_integer("AveragedEvery", "start", self.start, 0)

    def init(self, params: PyTree, buffers: PyTree = None) -> AveragedEveryState:
        """The state before the first step."""
        return AveragedEveryState(jnp.int32(0), self.average.init(params, buffers))

    def update_parameters(
        self, state: AveragedEveryState, params: PyTree, buffers: PyTree = None
    ) -> AveragedEveryState:
        """The state after a step."""
        count = state.count + 1
        due = (count > self.start) & ((count - self.start) % self.every == 0)
        update = self.average.update_parameters
        average = jax.lax.cond(due, lambda: update(state.average, params, buffers), lambda: state.average)
        return AveragedEveryState(count, average)
