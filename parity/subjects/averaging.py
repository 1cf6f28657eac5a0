"""Averages of models on their way, and their batch norms' statistics."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch.optim.swa_utils import AveragedModel, update_bn

from jaxtrain import nn
from jaxtrain.optim import averaging
from parity.case import Case
from parity.subjects._arrays import to_jax, to_numpy
from parity.subjects._compilation import compiler_options
from parity.verdicts import Arrays

STEPS = 300


class Model(torch.nn.Module):
    """Two parameters, a floating buffer and an integer one, all set from outside."""

    def __init__(self, values: Arrays, dtype: torch.dtype):
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.tensor(values["matrix"][0], dtype=dtype))
        self.scalar = torch.nn.Parameter(torch.tensor(values["scalar"][0], dtype=dtype))
        self.register_buffer("statistic", torch.tensor(values["statistic"][0], dtype=dtype))
        self.register_buffer("number", torch.tensor(values["number"][0]))

    def set(self, values: Arrays, step: int) -> None:
        with torch.no_grad():
            for name, tensor in self.state_dict().items():
                tensor.copy_(torch.tensor(values[name][step]))


def journey() -> Arrays:
    """The variables of a model after each of its steps, in numbers that float32 holds exactly."""
    rng = np.random.default_rng(0)
    return {
        "matrix": rng.normal(size=(STEPS, 3, 4)).cumsum(axis=0).astype(np.float32),
        "scalar": (1000 + rng.normal(size=STEPS)).astype(np.float32),
        "statistic": rng.exponential(size=(STEPS, 4)).astype(np.float32),
        "number": 8 * np.arange(1, STEPS + 1),
    }


@dataclass(frozen=True, eq=False, kw_only=True)
class AveragingCase(Case):
    """An averaged model against `torch.optim.swa_utils.AveragedModel`, after every update.

    Attributes:
        ours: makes the averaged model.
        reference: makes PyTorch's, of a given module.
    """

    reference: Callable[[torch.nn.Module], AveragedModel]

    def run_torch(self, dtype: str) -> Arrays:
        values = journey()
        model = Model(values, getattr(torch, dtype))
        average = self.reference(model)
        history: dict[str, list[np.ndarray]] = {}
        for step in range(STEPS):
            model.set(values, step)
            average.update_parameters(model)
            for name, tensor in average.state_dict().items():
                history.setdefault(name.removeprefix("module."), []).append(to_numpy(tensor))
        return {name: np.stack(arrays) for name, arrays in history.items()}

    def run_ours(self, ours: Callable[[], averaging.AveragedModel], dtype: str) -> Arrays:
        values = {name: to_jax(array, dtype) for name, array in journey().items()}
        names = ("matrix", "scalar"), ("statistic", "number")
        average = ours()

        def step(state, values):
            params, buffers = ({name: values[name] for name in group} for group in names)
            state = average.update_parameters(state, params, buffers)
            return state, {**state.module, **state.buffers, "n_averaged": state.n_averaged}

        @partial(jax.jit, compiler_options=compiler_options(dtype))
        def trajectory(values):
            # The first state is forgotten with the first update.
            first = jax.tree.map(lambda array: 7 * array[0], values)
            params, buffers = ({name: first[name] for name in group} for group in names)
            return jax.lax.scan(step, average.init(params, buffers), values)[1]

        return {name: np.asarray(array, np.float64) for name, array in trajectory(values).items()}

    def units(self, truth: Arrays) -> Arrays:
        """The largest magnitude so far."""
        return {
            name: np.maximum.accumulate(np.abs(values.reshape(STEPS, -1)).max(axis=1)) for name, values in truth.items()
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class UpdateBnCase(Case):
    """Running statistics of a batch norm against those of `torch.optim.swa_utils.update_bn`.

    Attributes:
        ours: `function(loader, model)`, which changes the model.
    """

    def run_torch(self, dtype: str) -> Arrays:
        kind = getattr(torch, dtype)
        layer = torch.nn.BatchNorm1d(3, momentum=0.3).to(kind)
        layer(torch.tensor(_batches()[0], dtype=kind))
        update_bn([torch.tensor(batch, dtype=kind) for batch in _batches()], layer)
        return {name: to_numpy(tensor)[None] for name, tensor in layer.named_buffers()}

    def run_ours(self, ours: Callable[[list[jax.Array], nnx.Module], None], dtype: str) -> Arrays:
        layer = nn.BatchNorm(3, momentum=0.3, param_dtype=dtype)
        layer(jnp.asarray(_batches()[0], dtype))
        ours([jnp.asarray(batch, dtype) for batch in _batches()], layer)
        return {name: np.asarray(getattr(layer, name)[...], np.float64)[None] for name in self.truth}

    def units(self, truth: Arrays) -> Arrays:
        """The largest magnitude of each array."""
        return {name: np.abs(values).max()[None] for name, values in truth.items()}


def _batches() -> list[np.ndarray]:
    """Batches of different sizes and levels."""
    rng = np.random.default_rng(0)
    return [rng.normal(level, 1 + level, size=(size, 3)).astype(np.float32) for level, size in enumerate((8, 8, 5))]
