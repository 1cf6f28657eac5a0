"""PyTorch's optimizer on given gradients."""

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from parity.diff.recipe import Recipe
from parity.subjects._arrays import to_numpy, to_torch

Arrays = dict[str, np.ndarray]


def trajectory(
    module: torch.nn.Module,
    recipe: Recipe,
    gradients: Sequence[Mapping[str, np.ndarray]],
    examples: Sequence[int],
    dtype: str = "float64",
) -> list[Arrays]:
    """PyTorch's parameters after each batch, from its gradients and its number of examples."""
    module = copy.deepcopy(module).to(getattr(torch, dtype))
    training = recipe.start(module)
    found = []
    for given, count in zip(gradients, examples, strict=True):
        for name, parameter in module.named_parameters():
            parameter.grad = to_torch(given[name], dtype) if name in given else None
        training.step(count)
        found.append({name: to_numpy(parameter) for name, parameter in module.named_parameters()})
    return found
