"""Optimizers that evaluate the loss themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from parity.case import Case
from parity.subjects._arrays import to_torch
from parity.subjects._compilation import compiled
from parity.subjects.program import Program, program
from parity.verdicts import Arrays

Objective = Callable[[Mapping[str, Any], Any], Any]
"""The loss of parameters on some problem, in operators that tensors and JAX's arrays share."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ClosureCase(Case):
    """An optimizer that takes the loss as a function against one that takes a closure, after every update.

    Both solve many problems, each afresh and with a few updates: on one long trajectory every rounding would grow
    tenfold an update.

    Attributes:
        ours: makes the transformation.
        reference: makes the PyTorch optimizer on a list of parameters.
        objective: the loss.
        start: the parameters at first.
        problems: what the loss is given, along the first axis.
        updates: number of updates for each problem.
        states: names of the arrays of PyTorch's state that are compared.
        counts: names of its counts, which only the formula must meet: a float32 loss is flat at another iteration.
    """

    reference: Callable[[list[torch.Tensor]], torch.optim.Optimizer]
    objective: Objective
    start: Mapping[str, np.ndarray]
    problems: np.ndarray
    updates: int
    states: tuple[str, ...] = ("d", "t", "H_diag", "prev_flat_grad", "prev_loss")
    counts: tuple[str, ...] = ("n_iter", "func_evals")

    def run_torch(self, dtype: str) -> Arrays:
        kind = getattr(torch, dtype)
        history: dict[str, list[np.ndarray]] = {}
        for problem in torch.tensor(self.problems, dtype=kind):
            # JAX sorts the keys of a dict.
            start = sorted(self.start.items())
            parameters = {name: torch.tensor(array, dtype=kind, requires_grad=True) for name, array in start}
            optimizer = self.reference(list(parameters.values()))

            def closure(parameters=parameters, optimizer=optimizer, problem=problem):
                optimizer.zero_grad()
                loss = self.objective(parameters, problem)
                loss.backward()
                return loss

            for _ in range(self.updates):
                optimizer.step(closure)
                state = optimizer.state[next(iter(parameters.values()))]
                values = {f"parameter {name!r}": tensor.detach() for name, tensor in parameters.items()}
                values |= {name: state[name] for name in (*self.states, *self.counts)}
                for name, value in values.items():
                    value = torch.as_tensor(value, dtype=torch.float64).numpy().copy()
                    history.setdefault(name, []).append(value)
        return self._comparable({name: np.stack(values) for name, values in history.items()}, dtype)

    def run_ours(self, ours: Callable[[], optax.GradientTransformation], dtype: str) -> Arrays:
        make, numbers = program(ours)
        start = {name: jnp.asarray(array, dtype) for name, array in self.start.items()}
        problems = jnp.asarray(self.problems, dtype)
        solve = compiled(_solutions, dtype, (0, 1, 2))
        parameters, states = solve(make, self.objective, self.updates, numbers, start, problems)
        results = {f"parameter {name!r}": values for name, values in parameters.items()}
        results |= {name: value for name, value in states.items() if name in self.truth}
        return self._comparable(
            {name: np.asarray(array, np.float64).reshape(-1, *array.shape[2:]) for name, array in results.items()},
            dtype,
        )

    def _comparable(self, results: Arrays, dtype: str) -> Arrays:
        """Results in which the counts of a rounded run are the right ones."""
        return results if dtype == "float64" else {**results, **{name: self.truth[name] for name in self.counts}}

    def units(self, truth: Arrays) -> Arrays:
        """For each problem: of parameters the distance travelled, of all else the largest magnitude so far.

        At a minimum all else is nothing but rounding. So losses and gradients count against those at the start, and
        directions, the next stretch of the way, against the longest distance of a parameter.
        """
        units = {}
        for name, values in truth.items():
            values = values.reshape(len(self.problems), self.updates, -1)
            if name.startswith("parameter"):
                first = self.start[name.removeprefix("parameter ").strip("'")].ravel()
                first = np.broadcast_to(first, (len(values), 1, len(first)))
                size = np.abs(np.diff(values, axis=1, prepend=first)).cumsum(axis=1)
            else:
                size = np.maximum.accumulate(np.abs(values), axis=1)
            units[name] = size.max(axis=-1)
        for name in units.keys() & self._at_start.keys():
            units[name] = np.maximum(units[name], self._at_start[name][:, None])
        if "d" in units:
            units["d"] = np.max([units[name] for name in units if name == "d" or name.startswith("parameter")], axis=0)
        return {name: unit.ravel() for name, unit in units.items()}

    @cached_property
    def _at_start(self) -> Arrays:
        """For each problem, PyTorch's first loss and the largest element of its gradient, by their later names."""
        losses, gradients = [], []
        for problem in torch.tensor(self.problems, dtype=torch.float64):
            start = {name: to_torch(array, "float64").requires_grad_() for name, array in self.start.items()}
            loss = self.objective(start, problem)
            losses.append(abs(loss.item()))
            gradients.append(max(float(g.abs().max()) for g in torch.autograd.grad(loss, list(start.values()))))
        return {"prev_loss": np.array(losses), "prev_flat_grad": np.array(gradients)}


def _solutions(
    make: Program, objective: Objective, updates: int, numbers: list[jax.Array], start: Any, problems: jax.Array
) -> Any:
    """The parameters and the optimizer's state after every update for every problem."""
    optimizer = optax.with_extra_args_support(make(numbers))

    def solve(problem):
        def loss(parameters):
            return objective(parameters, problem)

        def step(carry, _):
            parameters, state = carry
            value, gradients = jax.value_and_grad(loss)(parameters)
            updates, state = optimizer.update(gradients, state, parameters, value_fn=loss, value=value, grad=gradients)
            parameters = optax.apply_updates(parameters, updates)
            return (parameters, state), (parameters, getattr(state, "_asdict", dict)())

        return jax.lax.scan(step, (start, optimizer.init(start)), length=updates)[1]

    return jax.lax.map(solve, problems)
