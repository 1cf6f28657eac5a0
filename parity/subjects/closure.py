"""Optimizers that evaluate the loss themselves."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from parity import draws
from parity._compilation import compiled
from parity.case import Case
from parity.precision import Draw
from parity.sensitivity import Problem
from parity.subjects._arrays import to_torch
from parity.subjects.program import Program, program
from parity.trace import Quantity, Trace

Objective = Callable[[Mapping[str, Any], Any], Any]
"""The loss of parameters on some problem, in operators that tensors and JAX's arrays share."""

DIRECTION = Quantity("state d")


@dataclass(frozen=True, eq=False, kw_only=True)
class ClosureCase(Case):
    """An optimizer that takes the loss as a function against one that takes a closure, after every update.

    Both solve many problems with a few updates each: on one long trajectory every rounding would grow tenfold an
    update. Counts have no precision verdict, for a rounded loss is flat at another iteration.

    Attributes:
        ours: makes the transformation.
        reference: makes the PyTorch optimizer on a list of parameters.
        objective: the loss.
        start: the parameters at first.
        problems: what the loss is given, along the first axis.
        updates: number of updates for each problem.
        states: names of the arrays of PyTorch's state that are compared.
    """

    reference: Callable[[list[torch.Tensor]], torch.optim.Optimizer]
    objective: Objective
    start: Mapping[str, np.ndarray]
    problems: np.ndarray
    updates: int
    states: tuple[str, ...] = ("d", "t", "H_diag", "prev_flat_grad", "prev_loss")
    amplifies: bool = True

    COUNTS: ClassVar = ("n_iter", "func_evals")
    draws: ClassVar[tuple[int, ...]] = (1, 4, 16)
    inputs_in: ClassVar[tuple[str, ...]] = ("start", "problems")
    formula_only: ClassVar[Collection[Quantity]] = tuple(Quantity(f"state {name}") for name in COUNTS)

    def redrawn(self, number: int) -> Self:
        return replace(self, problems=draws.redrawn(self.problems, number, self.precision))

    def run_torch(self, dtype: str) -> Trace:
        return joined(
            self.train_torch(*self.torch_side(dtype), problem, self.updates) for problem in self.torch_problems(dtype)
        )

    def torch_problems(self, dtype: str) -> torch.Tensor:
        """What the loss is given, for PyTorch."""
        return torch.tensor(self.problems, dtype=getattr(torch, dtype))

    def torch_side(self, dtype: str) -> tuple[dict[str, torch.Tensor], torch.optim.Optimizer]:
        """PyTorch's parameters at first, and the optimizer."""
        # JAX sorts the keys of a dict.
        start = sorted(self.start.items())
        parameters = {name: to_torch(array, dtype).requires_grad_() for name, array in start}
        return parameters, self.reference(list(parameters.values()))

    def train_torch(
        self, parameters: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer, problem: Any, updates: int
    ) -> Trace:
        """Everything after each of some updates."""

        def closure() -> Any:
            optimizer.zero_grad()
            loss = self.objective(parameters, problem)
            loss.backward()
            return loss

        history: dict[Quantity, list[np.ndarray]] = {}
        for _ in range(updates):
            optimizer.step(closure)
            state = optimizer.state[next(iter(parameters.values()))]
            values = {Quantity("parameter", name): tensor.detach() for name, tensor in parameters.items()}
            values |= {Quantity(f"state {name}"): state[name] for name in (*self.states, *self.COUNTS)}
            for quantity, value in values.items():
                history.setdefault(quantity, []).append(torch.as_tensor(value, dtype=torch.float64).numpy().copy())
        return {quantity: np.stack(values) for quantity, values in history.items()}

    def run_ours(self, ours: Callable[[], optax.GradientTransformation], dtype: str) -> Trace:
        make, numbers = program(ours)
        start = {name: jnp.asarray(array, dtype) for name, array in self.start.items()}
        problems = jnp.asarray(self.problems, dtype)
        solve = compiled(_solutions, dtype, (0, 1, 2))
        parameters, states = solve(make, self.objective, self.updates, numbers, start, problems)
        results = {Quantity("parameter", name): values for name, values in parameters.items()}
        results |= {Quantity(f"state {name}"): values for name, values in states.items()}
        return {
            quantity: np.asarray(array, np.float64).reshape(-1, *array.shape[2:]) for quantity, array in results.items()
        }

    def problem(self, ours: Any, number: int, draw: Draw, quantity: Quantity, at: tuple[int, ...]) -> Problem:
        """The one of `problems` that has the element."""
        case = self.of_draw(number, ours)
        length = len(draw.truth[quantity]) // len(self.problems)
        index = at[0] // length
        alone = replace(case, problems=case.problems[index : index + 1])
        rows = slice(index * length, (index + 1) * length)
        return Problem(dict.fromkeys(draw.truth, rows), partial(alone.run_torch, "float64"))

    def units(self, truth: Trace) -> Trace:
        """For each problem: of parameters the distance travelled, of all else the largest magnitude so far.

        At a minimum all else is nothing but rounding. So losses and gradients count against those at the start, and
        directions, the next stretch of the way, against the longest distance of a parameter.
        """
        sizes = {}
        for quantity, values in truth.items():
            values = values.reshape(len(self.problems), self.updates, -1)
            if quantity.kind == "parameter":
                first = np.broadcast_to(self.start[quantity.path].ravel(), (len(values), 1, values.shape[-1]))
                size = np.abs(np.diff(values, axis=1, prepend=first)).cumsum(axis=1)
            else:
                size = np.maximum.accumulate(np.abs(values), axis=1)
            sizes[quantity] = size.max(axis=-1)
            if quantity in self._at_start:
                sizes[quantity] = np.maximum(sizes[quantity], self._at_start[quantity][:, None])
        if DIRECTION in sizes:
            longest = [
                size for quantity, size in sizes.items() if quantity == DIRECTION or quantity.kind == "parameter"
            ]
            sizes[DIRECTION] = np.max(longest, axis=0)
        return {quantity: size.ravel() for quantity, size in sizes.items()}

    @cached_property
    def _at_start(self) -> dict[Quantity, np.ndarray]:
        """For each problem, PyTorch's first loss and the largest element of its gradient, by their later names."""
        losses, gradients = [], []
        for problem in torch.tensor(self.problems, dtype=torch.float64):
            start = {name: to_torch(array, "float64").requires_grad_() for name, array in self.start.items()}
            loss = self.objective(start, problem)
            losses.append(abs(loss.item()))
            gradients.append(max(float(g.abs().max()) for g in torch.autograd.grad(loss, list(start.values()))))
        return {
            Quantity("state prev_loss"): np.array(losses),
            Quantity("state prev_flat_grad"): np.array(gradients),
        }


def joined(traces: Iterable[Trace]) -> Trace:
    """The traces of all problems, one after the other."""
    every = list(traces)
    return {quantity: np.concatenate([trace[quantity] for trace in every]) for quantity in every[0]}


def _solutions(
    make: Program, objective: Objective, updates: int, numbers: list[jax.Array], start: Any, problems: jax.Array
) -> Any:
    """The parameters and the optimizer's state after every update for every problem."""
    optimizer = optax.with_extra_args_support(make(numbers))

    def solve(problem):
        parameters, states = solution(optimizer, objective, updates, problem, start, optimizer.init(start))
        return parameters, getattr(states, "_asdict", dict)()

    return jax.lax.map(solve, problems)


def solution(optimizer: Any, objective: Objective, updates: int, problem: Any, start: Any, state: Any) -> Any:
    """The parameters and the optimizer's state after every update for one problem."""

    def loss(parameters):
        return objective(parameters, problem)

    def step(carry, _):
        parameters, state = carry
        value, gradients = jax.value_and_grad(loss)(parameters)
        updates, state = optimizer.update(gradients, state, parameters, value_fn=loss, value=value, grad=gradients)
        parameters = optax.apply_updates(parameters, updates)
        return (parameters, state), (parameters, state)

    return jax.lax.scan(step, (start, state), length=updates)[1]
