"""Runs that change the framework half way."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx

from jaxtrain import interop
from jaxtrain.interop.layouts import Layout, layouts_of
from jaxtrain.train import TrainState
from parity._compilation import compiled
from parity.case import Case
from parity.precision import Draw
from parity.sensitivity import Problem, row_at_all_steps
from parity.subjects._arrays import to_numpy, to_torch
from parity.subjects._rates import with_other_rates
from parity.subjects.optimizer import Leaf, scalar_states_of, trajectory
from parity.subjects.program import program
from parity.trace import Quantity, Trace

Framework = Literal["torch", "jaxtrain"]

DIRECTIONS: dict[Framework, str] = {
    "torch": "PyTorch, then jaxtrain",
    "jaxtrain": "jaxtrain, then PyTorch",
}
"""The order of the frameworks, by the one of the first half."""

Carry = Callable[..., Any]
"""`load(state, weights, optimizer_state_dict, names, count)` or `give(state, like, names)`, see `TakeoverCase`."""


def load(state: TrainState, weights: Any, saved: Any, names: list[str], count: int) -> TrainState:
    """Take over a run of PyTorch."""
    return interop.load_optimizer(interop.load_state_dict(state, weights), saved, names, count=count)


def give(state: TrainState, like: Any, names: list[str]) -> tuple[Mapping[str, Any], Any]:
    """Weights and optimizer's state for PyTorch."""
    return interop.state_dict(state), interop.optimizer_state_dict(state, like, names)


@dataclass(frozen=True, eq=False, kw_only=True)
class TakeoverCase(Case):
    """A run that begins in one framework and ends in the other, against PyTorch's whole run, by its parameters after
    each step of the second half. Both directions run the same compiled program.

    Attributes:
        ours: `load` or `give`.
        optimizer: makes our optimizer.
        reference: makes PyTorch's on a list of parameters.
        module: makes the NNX module with the parameters, whose children are layers.
        leaves: the parameters by PyTorch's names.
        begins: the framework of the first half.
    """

    optimizer: Callable[[], optax.GradientTransformation]
    reference: Callable[[list[torch.Tensor]], torch.optim.Optimizer]
    module: Callable[[str], nnx.Module]
    leaves: Mapping[str, Leaf]
    begins: Framework
    amplifies: bool = True

    inputs_in: ClassVar[tuple[str, ...]] = ("leaves",)

    def redrawn(self, number: int) -> Self:
        return replace(self, leaves={name: leaf.redrawn(number, self.precision) for name, leaf in self.leaves.items()})

    def with_other_rate(self, number: int) -> Self:
        optimizer, reference = with_other_rates(number, self.optimizer, self.reference)
        return replace(self, optimizer=optimizer, reference=reference)

    def problem(self, ours: Carry, number: int, draw: Draw, quantity: Quantity, at: tuple[int, ...]) -> Problem:
        return row_at_all_steps(self.of_draw(number, ours).run_torch, quantity, at)

    @property
    def handover(self) -> int:
        return len(next(iter(self.leaves.values())).gradients) // 2

    @cached_property
    def _whole(self) -> dict[str, np.ndarray]:
        """PyTorch's parameters in float64, at first and after every step."""
        return self._torch_run("float64")

    def run_torch(self, dtype: str) -> Trace:
        whole = self._torch_run(dtype)
        return {Quantity("parameter", name): values[self.handover + 1 :] for name, values in whole.items()}

    def _torch_run(self, dtype: str) -> dict[str, np.ndarray]:
        parameters, optimizer = self._torch_side(dtype)
        with scalar_states_of(getattr(torch, dtype)):
            history = self._train_torch(parameters, optimizer, range(2 * self.handover))
        first = {name: to_numpy(to_torch(leaf.initial, dtype))[None] for name, leaf in self.leaves.items()}
        return {name: np.concatenate([first[name], values]) for name, values in history.items()}

    def run_ours(self, ours: Carry, dtype: str) -> Trace:
        with scalar_states_of(getattr(torch, dtype)):
            history = self._finished_here(ours, dtype) if self.begins == "torch" else self._finished_there(ours, dtype)
        return {Quantity("parameter", name): values for name, values in history.items()}

    def _finished_here(self, load: Carry, dtype: str) -> dict[str, np.ndarray]:
        parameters, optimizer = self._torch_side(dtype)
        self._train_torch(parameters, optimizer, range(self.handover))
        weights = {name: parameter.detach() for name, parameter in parameters.items()}
        state = load(self._state(dtype), weights, optimizer.state_dict(), list(self.leaves), self.handover)
        return self._train_here(state, dtype, slice(self.handover, None))[1]

    def _finished_there(self, give: Carry, dtype: str) -> dict[str, np.ndarray]:
        start = {name: leaf.initial for name, leaf in self.leaves.items()}
        state, _ = self._train_here(interop.load_state_dict(self._state(dtype), start), dtype, slice(self.handover))
        parameters, optimizer = self._torch_side(dtype)
        weights, saved = give(state, optimizer.state_dict(), list(self.leaves))
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(as_tensor(weights[name]))
        optimizer.load_state_dict(saved | {"state": jax.tree.map(as_tensor, saved["state"])})
        return self._train_torch(parameters, optimizer, range(self.handover, 2 * self.handover))

    def _torch_side(self, dtype: str) -> tuple[dict[str, torch.Tensor], torch.optim.Optimizer]:
        parameters = {name: to_torch(leaf.initial, dtype).requires_grad_() for name, leaf in self.leaves.items()}
        return parameters, self.reference(list(parameters.values()))

    def _train_torch(
        self, parameters: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer, steps: range
    ) -> dict[str, np.ndarray]:
        """Each parameter after each step."""
        history = {name: [] for name in parameters}
        given = {
            name: to_torch(leaf.gradients, str(parameters[name].dtype).removeprefix("torch."))
            for name, leaf in self.leaves.items()
        }
        for step in steps:
            for name, parameter in parameters.items():
                parameter.grad = self.leaves[name].torch_gradient(given[name], step)
            optimizer.step()
            for name, parameter in parameters.items():
                history[name].append(to_numpy(parameter))
        return {name: np.stack(values) for name, values in history.items()}

    def _state(self, dtype: str) -> TrainState:
        return TrainState.create(self.module(dtype), self.optimizer())

    def _train_here(self, state: TrainState, dtype: str, steps: slice) -> tuple[TrainState, dict[str, np.ndarray]]:
        """The state after some steps, and each parameter after each of them."""
        places = self._places(state)
        gradients: dict[str, Any] = {}
        for name, (child, own, layout) in places.items():
            given = self.leaves[name].jax_gradients(jnp.asarray(layout.from_torch(self.leaves[name].gradients), dtype))
            gradients.setdefault(child, {})[own] = jax.tree.map(lambda array: array[steps], given)
        make, numbers = program(self.optimizer)
        run = compiled(trajectory, dtype, (0,))
        (params, opt_state), results = run(make, numbers, state.params, state.opt_state, gradients)
        found = {
            name: np.asarray(layout.to_torch(np.asarray(results["parameter"][child][own])), np.float64)
            for name, (child, own, layout) in places.items()
        }
        count = state.step + self.handover
        return dataclasses.replace(state, params=params, opt_state=opt_state, step=count), found

    def _places(self, state: TrainState) -> dict[str, tuple[str, str, Layout]]:
        """Where each parameter lies: its layer, its name there, and how PyTorch stores it."""
        module = state.model()
        found = {}
        for child, own_params in state.params.items():
            layouts = layouts_of(getattr(module, child))
            for own in own_params:
                layout = layouts.get(own, Layout(own))
                found[f"{child}.{layout.name}"] = child, own, layout
        return found

    def units(self, truth: Trace) -> Trace:
        """The distance travelled since the first step: at each step, the largest along the last axis. It counts as a
        hundredth of the magnitude at least, as every step rounds to 2e-16 of that.
        """
        units = {}
        for quantity in truth:
            whole = self._whole[quantity.path]
            travelled = np.abs(np.diff(whole, axis=0)).cumsum(axis=0)
            size = np.maximum(travelled, np.abs(whole[1:]) / 100)[self.handover :]
            units[quantity] = size.max(axis=-1, keepdims=True)
        return units


def as_tensor(value: Any) -> Any:
    """A tensor of an array, whose bfloat16 PyTorch does not take from NumPy."""
    if isinstance(value, np.ndarray) and value.dtype == jnp.bfloat16:
        return torch.from_numpy(value.view(np.int16)).view(torch.bfloat16)
    return torch.as_tensor(value) if isinstance(value, np.ndarray | np.generic) else value
