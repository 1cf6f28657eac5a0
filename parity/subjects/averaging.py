"""Running averages of models, and the statistics of their batch norms."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch.optim.swa_utils import AveragedModel, update_bn

from jaxtrain import nn
from jaxtrain.optim import averaging
from parity._compilation import KEPT, compiler_options
from parity.case import Case
from parity.draws import generator
from parity.subjects._arrays import to_jax, to_numpy
from parity.trace import Quantity, Trace

STEPS = 300

Variables = dict[str, np.ndarray]


class Model(torch.nn.Module):
    """Two parameters, a floating buffer and an integer one, all set from outside."""

    def __init__(self, values: Variables, dtype: torch.dtype):
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.tensor(values["matrix"][0], dtype=dtype))
        self.scalar = torch.nn.Parameter(torch.tensor(values["scalar"][0], dtype=dtype))
        self.register_buffer("statistic", torch.tensor(values["statistic"][0], dtype=dtype))
        self.register_buffer("number", torch.tensor(values["number"][0]))

    def set(self, values: Variables, step: int) -> None:
        with torch.no_grad():
            for name, tensor in self.state_dict().items():
                tensor.copy_(torch.tensor(values[name][step]))


def journey(seed: int) -> Variables:
    """The variables of a model after each of its steps, in numbers that float32 holds exactly."""
    rng = generator(seed)
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
        seed: of the model's variables.
    """

    reference: Callable[[torch.nn.Module], AveragedModel]
    seed: int = 0

    def redrawn(self, number: int) -> Self:
        return replace(self, seed=number)

    def run_torch(self, dtype: str) -> Trace:
        values = journey(self.seed)
        model = Model(values, getattr(torch, dtype))
        average = self.reference(model)
        history: dict[Quantity, list[np.ndarray]] = {}
        for step in range(STEPS):
            model.set(values, step)
            average.update_parameters(model)
            for name, tensor in average.state_dict().items():
                history.setdefault(Quantity("average", name.removeprefix("module.")), []).append(to_numpy(tensor))
        return {quantity: np.stack(arrays) for quantity, arrays in history.items()}

    def run_ours(self, ours: Callable[[], averaging.AveragedModel], dtype: str) -> Trace:
        values = {name: to_jax(array, dtype) for name, array in journey(self.seed).items()}
        averages = _averages(ours, dtype)(values)
        return {Quantity("average", name): np.asarray(array, np.float64) for name, array in averages.items()}

    def units(self, truth: Trace) -> Trace:
        """The largest magnitude so far."""
        return {
            quantity: np.maximum.accumulate(np.abs(values.reshape(STEPS, -1)).max(axis=1))
            for quantity, values in truth.items()
        }


@lru_cache(KEPT)
def _averages(ours: Callable[[], averaging.AveragedModel], dtype: str) -> Callable[[dict], dict]:
    """A program from a model's variables at each step to their averages; the same one for every draw and seed."""
    average = ours()

    def split(values):
        return tuple(
            {name: values[name] for name in names} for names in (("matrix", "scalar"), ("statistic", "number"))
        )

    def step(state, values):
        state = average.update_parameters(state, *split(values))
        return state, {**state.module, **state.buffers, "n_averaged": state.n_averaged}

    @partial(jax.jit, compiler_options=compiler_options(dtype))
    def averages(values):
        # The first state is forgotten with the first update.
        first = jax.tree.map(lambda array: 7 * array[0], values)
        return jax.lax.scan(step, average.init(*split(first)), values)[1]

    return averages


@dataclass(frozen=True, eq=False, kw_only=True)
class UpdateBnCase(Case):
    """Running statistics of a batch norm against those of `torch.optim.swa_utils.update_bn`.

    Attributes:
        ours: `function(loader, model)`, which changes the model.
        seed: of the batches.
    """

    seed: int = 0

    def redrawn(self, number: int) -> Self:
        return replace(self, seed=number)

    def run_torch(self, dtype: str) -> Trace:
        kind = getattr(torch, dtype)
        layer = torch.nn.BatchNorm1d(3, momentum=0.3).to(kind)
        layer(torch.tensor(_batches(self.seed)[0], dtype=kind))
        update_bn([torch.tensor(batch, dtype=kind) for batch in _batches(self.seed)], layer)
        return {Quantity("statistic", name): to_numpy(tensor)[None] for name, tensor in layer.named_buffers()}

    def run_ours(self, ours: Callable[[list[jax.Array], nnx.Module], None], dtype: str) -> Trace:
        layer = nn.BatchNorm(3, momentum=0.3, param_dtype=dtype)
        layer(jnp.asarray(_batches(self.seed)[0], dtype))
        ours([jnp.asarray(batch, dtype) for batch in _batches(self.seed)], layer)
        statistics = nnx.to_flat_state(nnx.state(layer, nnx.BatchStat))
        return {
            Quantity("statistic", str(path[-1])): np.asarray(array[...], np.float64)[None] for path, array in statistics
        }

    def units(self, truth: Trace) -> Trace:
        """The largest magnitude of each array."""
        return {quantity: np.abs(values).max()[None] for quantity, values in truth.items()}


def _batches(seed: int) -> list[np.ndarray]:
    """Batches of different sizes and levels."""
    rng = generator(seed)
    return [rng.normal(level, 1 + level, size=(size, 3)).astype(np.float32) for level, size in enumerate((8, 8, 5))]
