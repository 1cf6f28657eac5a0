"""How rounding acts on a trajectory of PyTorch: the optimizer, executed with one more rounding at each step.

Some hyper-parameters make a trajectory so sensitive that two right float64 implementations part. How far they may is
what several such runs show.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import torch

SUBTRACTED_FROM_ONE = {"betas", "alpha", "rho", "dampening"}
"""Arguments of which optimizers take `1 - x`: a beta of 1e-6 keeps ten digits there."""


def rough(
    optimizer: Callable[..., torch.optim.Optimizer], arguments: Mapping[str, Any], seed: int
) -> Callable[[list[torch.Tensor]], torch.optim.Optimizer]:
    """An optimizer that rounds everything that a step reads and writes once more, up or down.

    Rounding the inputs alone would not do: where a step of 1 leads from 1 to nearly 0, all that is left of the
    parameter is the rounding of the step.

    Args:
        optimizer: the class, called with parameters and arguments.
        arguments: hyper-parameters by name.
        seed: of the directions of the roundings.

    Returns:
        A function that makes the optimizer on a list of float64 parameters.
    """
    rng = np.random.default_rng(seed)

    def roundings(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.as_tensor(rng.choice([-1.0, 1.0], shape) * np.finfo(np.float64).eps)

    def make(parameters: list[torch.Tensor]) -> torch.optim.Optimizer:
        before = {}

        @torch.no_grad()
        def read(optimizer, args, kwargs):
            for parameter in parameters:
                before[parameter] = parameter.clone()
                if parameter.grad is not None:
                    parameter.grad += roundings(parameter.shape) * parameter.grad

        @torch.no_grad()
        def write(optimizer, args, kwargs):
            for parameter in parameters:
                size = torch.maximum(parameter.abs(), (parameter - before[parameter]).abs())
                parameter += roundings(parameter.shape) * size
                for key, state in optimizer.state[parameter].items():
                    if key != "step" and isinstance(state, torch.Tensor):
                        state += roundings(state.shape) * state

        shares = {key: arguments[key] for key in arguments.keys() & SUBTRACTED_FROM_ONE}
        shares = jax.tree.map(lambda share: share + (1 - share) * float(roundings(())), shares)
        made = optimizer(parameters, **{**arguments, **shares})
        made.register_step_pre_hook(read)
        made.register_step_post_hook(write)
        return made

    return make
