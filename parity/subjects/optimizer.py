"""Optimizers and gradient transformations, over a trajectory of live gradients."""

from collections.abc import Callable, Iterator, KeysView, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import torch

from jaxtrain import optim
from parity import draws
from parity._compilation import compiled
from parity.case import Case
from parity.precision import Draw
from parity.sensitivity import Problem, row_at_all_steps
from parity.subjects._rates import with_other_rates
from parity.subjects.program import Program, program
from parity.trace import Quantity, Trace

STEPS = 300


@dataclass(frozen=True)
class Leaf:
    """A parameter: its first value, its gradient at every step, and whether it has one there."""

    initial: np.ndarray
    gradients: np.ndarray
    present: Callable[[int], bool] = lambda step: True

    def redrawn(self, number: int, precision: str) -> Self:
        """The parameter with another first value and other gradients."""
        arrays = (draws.redrawn(array, number, precision) for array in (self.initial, self.gradients))
        return replace(self, **dict(zip(("initial", "gradients"), arrays, strict=True)))

    def torch_gradient(self, gradients: torch.Tensor, step: int) -> torch.Tensor:
        """What the parameter's `grad` is at a step, given all gradients in a dtype."""
        return gradients[step].clone()

    def jax_gradients(self, gradients: jax.Array) -> Any:
        """What the optimizer receives at all steps, given all gradients in a dtype."""
        return gradients


def live_leaves(steps: int = STEPS, seed: int = 0, scale: float = 1.0) -> dict[str, Leaf]:
    """A scalar, and a matrix whose rows try what optimizers stumble over.

    The rows are: a third of the gradients exactly zero; another sign at every step; magnitudes from 1e-3 to 10;
    tiny; huge; and nothing at all in the first 20 of every 100 steps. Two leaves only, because each is compiled.
    """
    rng = draws.generator(seed)
    noise = rng.normal(size=(6, steps, 8))
    rows = [
        noise[0] * (rng.random((steps, 8)) > 1 / 3),
        (-1.0) ** np.arange(steps)[:, None] * (0.1 + np.abs(noise[1])),
        noise[2] * 10 ** rng.uniform(-3, 1, (steps, 8)),
        noise[3] * 1e-7,
        noise[4] * 1e6,
        noise[5] * (np.arange(steps) % 100 >= 20)[:, None],
    ]
    initial = rng.normal(size=(6, 8))
    initial[1::2] = 0.0  # Here the parameter is the distance travelled, and no bit of an update is lost.
    return {
        "scalar": Leaf(rng.normal(size=()), scale * rng.normal(size=steps)),
        "rows": Leaf(initial, scale * np.stack(rows, axis=1)),
    }


@dataclass(frozen=True, eq=False, kw_only=True)
class OptimizerCase(Case):
    """An Optax transformation against a `torch.optim` optimizer, by parameters and state, at every step.

    Attributes:
        ours: makes the transformation. As a `functools.partial` of a function it shares its compiled program with
            other configurations of that function.
        reference: makes the PyTorch optimizer on a list of parameters.
        scheduler: makes a scheduler on that optimizer; it steps after every optimizer step.
        before_step: what PyTorch does to the gradients first, such as clipping, given the parameters.
        after_step: what PyTorch does to the parameters afterwards, such as a projection.
        leaves: the parameters and their gradients.
        states: whether optimizer states are compared, under PyTorch's names for them.
    """

    reference: Callable[[list[torch.Tensor]], torch.optim.Optimizer]
    scheduler: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None = None
    before_step: Callable[[list[torch.Tensor]], Any] | None = None
    after_step: Callable[[list[torch.Tensor]], Any] | None = None
    leaves: Mapping[str, Leaf] = field(default_factory=live_leaves)
    states: bool = True

    inputs_in: ClassVar[tuple[str, ...]] = ("leaves",)

    def redrawn(self, number: int) -> Self:
        return replace(self, leaves={name: leaf.redrawn(number, self.precision) for name, leaf in self.leaves.items()})

    def with_other_rate(self, number: int) -> Self:
        ours, reference = with_other_rates(number, self.ours, self.reference)
        return replace(self, ours=ours, reference=reference)

    def problem(self, ours: Any, number: int, draw: Draw, quantity: Quantity, at: tuple[int, ...]) -> Problem:
        return row_at_all_steps(self.of_draw(number, ours).run_torch, quantity, at)

    def _rounded(self, array: np.ndarray) -> np.ndarray:
        """Inputs that every precision of the case holds exactly."""
        return np.asarray(array).astype(ml_dtypes.finfo(self.precision).dtype).astype(np.float64)

    def run_torch(self, dtype: str) -> Trace:
        kind = getattr(torch, dtype)
        parameters = [torch.tensor(self._rounded(leaf.initial), dtype=kind) for leaf in self.leaves.values()]
        gradients = [torch.tensor(self._rounded(leaf.gradients), dtype=kind) for leaf in self.leaves.values()]
        for parameter in parameters:
            parameter.requires_grad_()
        history: dict[Quantity, list[torch.Tensor]] = {}
        with scalar_states_of(kind):
            optimizer = self.reference(parameters)
            scheduler = self.scheduler(optimizer) if self.scheduler else None
            for step in range(self.steps):
                for parameter, gradient, leaf in zip(parameters, gradients, self.leaves.values(), strict=True):
                    parameter.grad = leaf.torch_gradient(gradient, step) if leaf.present(step) else None
                with torch.no_grad():
                    if self.before_step:
                        self.before_step(parameters)
                    optimizer.step()
                    if self.after_step:
                        self.after_step(parameters)
                if scheduler:
                    scheduler.step()
                for name, parameter in zip(self.leaves, parameters, strict=True):
                    history.setdefault(Quantity("parameter", name), []).append(parameter.detach().clone())
                    for key, value in optimizer.state[parameter].items() if self.states else ():
                        if key != "step" and isinstance(value, torch.Tensor):
                            history.setdefault(Quantity(f"state {key}", name), []).append(value.clone())
        return {quantity: torch.stack(values).to(torch.float64).numpy() for quantity, values in history.items()}

    def run_ours(self, ours: Callable[[], optax.GradientTransformation], dtype: str) -> Trace:
        parameters = {name: jnp.asarray(self._rounded(leaf.initial), dtype) for name, leaf in self.leaves.items()}
        gradients = {
            name: leaf.jax_gradients(jnp.asarray(self._rounded(leaf.gradients), dtype))
            for name, leaf in self.leaves.items()
        }
        make, numbers = program(ours)
        run = compiled(trajectory, dtype, (0,))
        state, history = None, []
        for steps, present in self._stretches():
            given = {
                name: jax.tree.map(lambda array, steps=steps: array[steps], gradients[name])
                if name in present
                else None
                for name in gradients
            }
            (parameters, state), results = run(make, numbers, parameters, state, given)
            history.append(jax.device_get(results))

        joined = jax.tree.map(lambda *parts: np.concatenate(parts).astype(np.float64), *history)
        return {Quantity(kind, name): values for kind, leaves in joined.items() for name, values in leaves.items()}

    @property
    def steps(self) -> int:
        return len(next(iter(self.leaves.values())).gradients)

    def _stretches(self) -> Iterator[tuple[slice, frozenset[str]]]:
        """Stretches of steps in which the same parameters have gradients, and their names."""
        start = 0
        for present, steps in groupby(
            range(self.steps), lambda step: frozenset(name for name, leaf in self.leaves.items() if leaf.present(step))
        ):
            stop = start + len(list(steps))
            yield slice(start, stop), present
            start = stop

    def units(self, truth: Trace) -> Trace:
        """For parameters the distance travelled, for states the largest magnitude so far: at each step, the largest
        along the last axis.

        Every step rounds a parameter to 2e-16 of its magnitude, so the distance counts as a hundredth of it at least.
        """
        units = {}
        for quantity, values in truth.items():
            if quantity.kind == "parameter":
                initial = self._rounded(self.leaves[quantity.path].initial)
                size = np.abs(np.diff(values, axis=0, prepend=initial[None])).cumsum(axis=0)
                size = np.maximum(size, np.abs(values) / 100)
            else:
                size = np.maximum.accumulate(np.abs(values), axis=0)
            units[quantity] = size.max(axis=-1, keepdims=True) if size.ndim > 1 else size
        return units


def trajectory(make: Program, numbers: list[jax.Array], parameters: Any, state: Any, gradients: Any) -> Any:
    """The last parameters and state, and all on the way."""
    optimizer = optax.with_extra_args_support(make(numbers))

    def step(carry, gradient):
        parameters, state = carry
        updates, state = optimizer.update(gradient, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        return (parameters, state), {"parameter": parameters} | _states(state, gradient.keys())

    state = optimizer.init(parameters) if state is None else state
    if None in gradients.values():
        state = optim.separate_steps(state)
    return jax.lax.scan(step, (parameters, state), gradients)


def _states(state: Any, names: KeysView[str]) -> dict[str, dict[str, jax.Array]]:
    """The fields of a state that hold something for each parameter by its name, or one number for all."""
    fields = getattr(state, "_asdict", dict)()
    order = sorted(names)
    for name in getattr(state, "SCALARS", ()):
        shared = jnp.broadcast_to(fields[name], (len(order),))
        fields[name] = {key: shared[index] for index, key in enumerate(order)}
    return {
        f"state {name}": {key: value for key, value in field.items() if value is not None}
        for name, field in fields.items()
        if isinstance(field, dict) and field.keys() == names
    }


@contextmanager
def scalar_states_of(kind: torch.dtype) -> Iterator[None]:
    """PyTorch keeps the scalars in an optimizer's state in the default dtype; the truth needs them in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64 if kind == torch.float64 else torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
