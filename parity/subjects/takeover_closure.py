"""Runs of optimizers that evaluate the loss themselves, and that change the framework half way."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx

from jaxtrain import interop, nn
from jaxtrain.train import TrainState
from parity._compilation import compiled
from parity.subjects.closure import ClosureCase, Objective, joined, solution
from parity.subjects.program import Program, program
from parity.subjects.takeover import Carry, Framework, as_tensor
from parity.trace import Quantity, Trace


@dataclass(frozen=True, eq=False, kw_only=True)
class ClosureTakeoverCase(ClosureCase):
    """The second half of runs that begin in one framework and end in the other, against PyTorch's whole runs, by the
    parameters after each update.

    The parameters are the weight and the bias of a linear layer, in this order in PyTorch: here the bias comes first,
    and the weight is transposed, so all vectors of the optimizer have their elements in another order.

    Attributes:
        ours: `load` or `give`.
        optimizer: makes our optimizer.
        begins: the framework of the first half.
    """

    optimizer: Any
    begins: Framework

    @property
    def handover(self) -> int:
        return self.updates // 2

    @cached_property
    def _whole(self) -> Trace:
        """PyTorch's parameters in float64 after every update."""
        return self._of_parameters(super().run_torch("float64"))

    def run_torch(self, dtype: str) -> Trace:
        whole = self._whole if dtype == "float64" else self._of_parameters(super().run_torch(dtype))
        return {quantity: self._second_half(values) for quantity, values in whole.items()}

    def units(self, truth: Trace) -> Trace:
        """The distance travelled since the first update."""
        return {quantity: self._second_half(size) for quantity, size in super().units(self._whole).items()}

    def torch_side(self, dtype: str) -> tuple[dict[str, torch.Tensor], torch.optim.Optimizer]:
        parameters, _ = super().torch_side(dtype)
        ordered = {name: parameters[name] for name in self.start}
        return ordered, self.reference(list(ordered.values()))

    def run_ours(self, ours: Carry, dtype: str) -> Trace:
        out_features, in_features = self.start["weight"].shape
        layer = nn.Linear(in_features, out_features, param_dtype=dtype, rngs=nnx.Rngs(0))
        state = TrainState.create(layer, self.optimizer())
        finished = self._finished_here if self.begins == "torch" else self._finished_there
        return finished(ours, state, dtype)

    def _finished_here(self, load: Carry, state: TrainState, dtype: str) -> Trace:
        loaded = []
        for problem in self.torch_problems(dtype):
            parameters, optimizer = self.torch_side(dtype)
            self.train_torch(parameters, optimizer, problem, self.handover)
            weights = {name: parameter.detach() for name, parameter in parameters.items()}
            loaded.append(load(state, weights, optimizer.state_dict(), list(self.start), self.handover))
        found, _ = self._train_here(loaded, dtype, self.updates - self.handover)
        return {
            Quantity("parameter", name): np.asarray(values, np.float64).reshape(-1, *self.start[name].shape)
            for name, values in found.items()
        }

    def _finished_there(self, give: Carry, state: TrainState, dtype: str) -> Trace:
        start = interop.load_state_dict(state, self.start)
        _, states = self._train_here([start] * len(self.problems), dtype, self.handover)
        found = []
        for own, problem in zip(states, self.torch_problems(dtype), strict=True):
            parameters, optimizer = self.torch_side(dtype)
            weights, saved = give(own, optimizer.state_dict(), list(self.start))
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.copy_(as_tensor(weights[name]))
            optimizer.load_state_dict(saved | {"state": jax.tree.map(as_tensor, saved["state"])})
            found.append(self.train_torch(parameters, optimizer, problem, self.updates - self.handover))
        return self._of_parameters(joined(found))

    def _train_here(
        self, states: list[TrainState], dtype: str, updates: int
    ) -> tuple[Mapping[str, jax.Array], list[TrainState]]:
        """Each parameter in PyTorch's layout after each update of each problem, and the state after the last."""
        make, numbers = program(self.optimizer)
        run = compiled(_continued, dtype, (0, 1, 2))
        starts = jax.tree.map(lambda *leaves: jnp.stack(leaves), *((own.params, own.opt_state) for own in states))
        problems = jnp.asarray(self.problems, dtype)
        found, ends = run(make, self.objective, updates, numbers, starts, problems)
        after = [
            dataclasses.replace(own, params=params, opt_state=opt_state, step=own.step + updates)
            for number, own in enumerate(states)
            for params, opt_state in [jax.tree.map(lambda leaf, number=number: leaf[number], ends)]
        ]
        return found, after

    def _second_half(self, values: np.ndarray) -> np.ndarray:
        """What follows the handover, of all problems."""
        by_problem = values.reshape(len(self.problems), self.updates, *values.shape[1:])
        return by_problem[:, self.handover :].reshape(-1, *values.shape[1:])

    @staticmethod
    def _of_parameters(trace: Trace) -> Trace:
        return {quantity: values for quantity, values in trace.items() if quantity.kind == "parameter"}


def in_torch_layout(params: Mapping[str, Any]) -> dict[str, Any]:
    """A linear layer's parameters by PyTorch's names, also traced ones."""
    return {"weight": params["kernel"].mT, "bias": params["bias"]}


def _continued(
    make: Program, objective: Objective, updates: int, numbers: list[jax.Array], starts: Any, problems: jax.Array
) -> Any:
    """Each parameter in PyTorch's layout after every update of every problem, and all parameters and states at last."""
    optimizer = optax.with_extra_args_support(make(numbers))

    def ours(params: Any, problem: Any) -> Any:
        return objective(in_torch_layout(params), problem)

    def solve(given: Any) -> Any:
        (params, state), problem = given
        history, states = solution(optimizer, ours, updates, problem, params, state)
        return jax.vmap(in_torch_layout)(history), jax.tree.map(lambda leaf: leaf[-1], (history, states))

    return jax.lax.map(solve, (starts, problems))
