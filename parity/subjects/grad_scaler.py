"""The scale of a float16 loss, step by step, and the updates that it skips."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from jaxtrain import optim
from jaxtrain.train import GradScaler, Precision, TrainState
from parity._compilation import compiler_options
from parity.case import Case
from parity.draws import generator
from parity.trace import Quantity, Trace

STEPS, WIDTH, RATE = 60, 4, 0.1


def inputs(seed: int) -> np.ndarray:
    """Factors of a weight at each step, some so large that the gradient of the scaled loss is above 65504."""
    rng = generator(seed)
    sizes = np.where(rng.random((STEPS, 1)) < 0.3, 4.0 ** rng.integers(0, 6, size=(STEPS, 1)), 0.01)
    return (sizes * (1 + rng.random((STEPS, WIDTH)))).astype(np.float16)


class Weight(nnx.Module):
    """w · x, element by element."""

    def __init__(self, dtype: str) -> None:
        self.w = nnx.Param(jnp.ones(WIDTH, dtype))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.w[...] * x


@dataclass(frozen=True, eq=False, kw_only=True)
class GradScalerCase(Case):
    """A float16 run with a scaled loss against `torch.amp.GradScaler`: parameters, scale and tracker after every step.

    Attributes:
        ours: makes the scaler.
        reference: makes PyTorch's.
        seed: of the inputs.
    """

    reference: Callable[[], torch.amp.GradScaler]
    seed: int = 0

    def redrawn(self, number: int) -> Self:
        return replace(self, seed=number)

    def run_torch(self, dtype: str) -> Trace:
        weight = torch.ones(WIDTH, dtype=getattr(torch, dtype), requires_grad=True)
        optimizer, scaler = torch.optim.SGD([weight], lr=RATE), self.reference()
        history = []
        for x in torch.tensor(inputs(self.seed)):
            optimizer.zero_grad()
            loss = (weight.to(torch.float16) * x).to(torch.float32).sum()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            history.append((weight.tolist(), scaler.get_scale(), scaler._get_growth_tracker()))
        return _trace(*map(np.array, zip(*history, strict=True)))

    def run_ours(self, ours: Callable[[], GradScaler], dtype: str) -> Trace:
        state = TrainState.create(Weight(dtype), optim.sgd(RATE), precision=Precision("float16", scaler=ours()))

        def step(state: TrainState, x: jax.Array) -> tuple[TrainState, tuple]:
            gradients, _, _, state = state.gradients(lambda model, x: model(x).sum(), x)
            state = state.apply_gradients(gradients)
            assert state.scaler is not None
            return state, (state.params["w"], state.scaler.scale, state.scaler.growth_tracker)

        run = jax.jit(lambda state, xs: jax.lax.scan(step, state, xs)[1], compiler_options=compiler_options(dtype))
        return _trace(*run(state, jnp.asarray(inputs(self.seed))))

    def units(self, truth: Trace) -> Trace:
        """The distance that a parameter travelled so far, and the largest scale and tracker."""
        return {
            quantity: np.maximum.accumulate(np.abs(values - 1).max(axis=1))
            if quantity.kind == "parameter"
            else np.full(STEPS, np.abs(values).max())
            for quantity, values in truth.items()
        }


def _trace(weight: np.ndarray, scale: np.ndarray, tracker: np.ndarray) -> Trace:
    return {
        Quantity("parameter", "w"): np.asarray(weight, np.float64),
        Quantity("scale"): np.asarray(scale, np.float64),
        Quantity("growth_tracker"): np.asarray(tracker, np.float64),
    }
