"""Optimizers and gradient transformations, over a trajectory of live gradients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import torch

from parity.case import Case
from parity.compare import Arrays

STEPS = 300


@dataclass(frozen=True)
class Leaf:
    """A parameter: its first value, and its gradient at every step."""

    initial: np.ndarray
    gradients: np.ndarray


def live_leaves(steps: int = STEPS, seed: int = 0, scale: float = 1.0) -> dict[str, Leaf]:
    """A scalar, a vector, and a matrix whose rows try what optimizers stumble over.

    The rows are: a third of the gradients exactly zero; another sign at every step; magnitudes from 1e-3 to 10;
    tiny; huge; and nothing at all in the first 20 of every 100 steps. Three leaves, because every leaf is compiled.
    """
    rng = np.random.default_rng(seed)
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
        "scalar": Leaf(rng.normal(), scale * rng.normal(size=steps)),
        "vector": Leaf(rng.normal(size=5), scale * rng.normal(size=(steps, 5))),
        "rows": Leaf(initial, scale * np.stack(rows, axis=1)),
    }


@dataclass(frozen=True, eq=False, kw_only=True)
class OptimizerCase(Case):
    """An Optax transformation against a `torch.optim` optimizer, by parameters and state, at every step.

    Attributes:
        ours: makes the transformation.
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

    def _rounded(self, array: np.ndarray) -> np.ndarray:
        """Inputs that every precision of the case holds exactly."""
        return np.asarray(array).astype(ml_dtypes.finfo(self.precision).dtype).astype(np.float64)

    def run_torch(self, dtype: str) -> Arrays:
        kind = getattr(torch, dtype)
        parameters = [torch.tensor(self._rounded(leaf.initial), dtype=kind) for leaf in self.leaves.values()]
        gradients = [torch.tensor(self._rounded(leaf.gradients), dtype=kind) for leaf in self.leaves.values()]
        for parameter in parameters:
            parameter.requires_grad_()
        optimizer = self.reference(parameters)
        scheduler = self.scheduler(optimizer) if self.scheduler else None
        history: dict[str, list[np.ndarray]] = {}
        for step in range(len(gradients[0])):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient[step].clone()
            with torch.no_grad():
                if self.before_step:
                    self.before_step(parameters)
                optimizer.step()
                if self.after_step:
                    self.after_step(parameters)
            if scheduler:
                scheduler.step()
            for name, parameter in zip(self.leaves, parameters, strict=True):
                history.setdefault(f"parameter {name!r}", []).append(_to_numpy(parameter))
                for key, value in optimizer.state[parameter].items() if self.states else ():
                    if key != "step" and isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                        history.setdefault(f"{key} of {name!r}", []).append(_to_numpy(value))
        return {name: np.stack(values) for name, values in history.items()}

    def run_ours(self, ours: Callable[[], optax.GradientTransformation], dtype: str) -> Arrays:
        parameters = {name: jnp.asarray(self._rounded(leaf.initial), dtype) for name, leaf in self.leaves.items()}
        gradients = {name: jnp.asarray(self._rounded(leaf.gradients), dtype) for name, leaf in self.leaves.items()}
        optimizer = optax.with_extra_args_support(ours())

        def step(carry, gradient):
            parameters, state = carry
            updates, state = optimizer.update(gradient, state, parameters)
            parameters = optax.apply_updates(parameters, updates)
            return (parameters, state), {"parameter": parameters} | _states(state, parameters)

        @jax.jit
        def trajectory(parameters, gradients):
            return jax.lax.scan(step, (parameters, optimizer.init(parameters)), gradients)[1]

        results = {}
        for kind, leaves in trajectory(parameters, gradients).items():
            for name, values in leaves.items():
                label = f"parameter {name!r}" if kind == "parameter" else f"{kind} of {name!r}"
                if label in self.truth:
                    results[label] = np.asarray(values, np.float64)
        return results

    def units(self, truth: Arrays) -> Arrays:
        """For parameters the distance travelled, for states the largest magnitude so far: at each step, the largest
        along the last axis.

        Every step rounds a parameter to 2e-16 of its magnitude, so the distance counts as a hundredth of it at least.
        """
        units = {}
        for name, values in truth.items():
            if name.startswith("parameter"):
                initial = self._rounded(self.leaves[name.removeprefix("parameter ").strip("'")].initial)
                size = np.abs(np.diff(values, axis=0, prepend=initial[None])).cumsum(axis=0)
                size = np.maximum(size, np.abs(values) / 100)
            else:
                size = np.maximum.accumulate(np.abs(values), axis=0)
            units[name] = size.max(axis=-1, keepdims=True) if size.ndim > 1 else size
        return units


def _states(state: Any, parameters: dict[str, jax.Array]) -> dict[str, dict[str, jax.Array]]:
    """The fields of a state that hold an array like each parameter."""
    fields = state._asdict() if hasattr(state, "_asdict") else {}
    structure = jax.tree.structure(parameters)
    return {name: value for name, value in fields.items() if jax.tree.structure(value) == structure}


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().to(torch.float64).numpy().copy()
