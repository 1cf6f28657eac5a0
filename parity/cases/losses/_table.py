"""What the tables of losses share: how a row is written, and live inputs."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from typing import Any

import jax
import numpy as np
import torch

from jaxtrain import losses
from parity.draws import generator
from parity.subjects.loss import Inputs, LossCase

EACH = ("mean", "sum", "none")
"""The values of `reduction` that every loss has."""

Loss = Callable[..., jax.Array]


def case(
    component: str,
    configuration: str,
    reference: Callable[..., torch.Tensor],
    inputs: Sequence[Inputs],
    defects: Mapping[str, Loss],
    *,
    ours: Loss | None = None,
    wrt: tuple[int, ...] = (0,),
    **options: Any,
) -> LossCase:
    """One configuration; `ours` is by default the loss of that name. Both sides get its arguments among the options."""
    parameters = signature(getattr(losses, component)).parameters
    arguments = {name: options.pop(name) for name in [*options] if name in parameters}
    return LossCase(
        component=f"losses.{component}",
        configuration=configuration,
        ours=partial(ours or getattr(losses, component), **arguments),
        reference=partial(reference, **arguments),
        inputs=inputs,
        defects=defects,
        wrt=wrt,
        **options,
    )


def reduced(each: Loss) -> Loss:
    """A loss with `reduction` from one that gives each element's."""

    def loss(*arrays: jax.Array, reduction: str) -> jax.Array:
        losses = each(*arrays)
        return {"mean": losses.mean, "sum": losses.sum, "none": lambda: losses}[reduction]()

    return loss


def normal(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Normal numbers, exact in float32."""
    return generator(seed).normal(scale=scale, size=shape).astype(np.float32)


def uniform(seed: int, *shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Uniform numbers, exact in float32."""
    return generator(seed).uniform(low, high, size=shape).astype(np.float32)


def simplex(seed: int, *shape: int) -> np.ndarray:
    """Probabilities along the last axis, exact in float32, with a zero and a one in the first rows."""
    probabilities = np.exp(normal(seed, *shape, scale=2.0).astype(np.float64))
    probabilities /= probabilities.sum(-1, keepdims=True)
    flat = probabilities.reshape(-1, shape[-1])
    flat[0] = np.eye(shape[-1])[1]
    flat[1, 0], flat[1, 1] = 0.0, flat[1, :2].sum()
    return probabilities.astype(np.float32)
