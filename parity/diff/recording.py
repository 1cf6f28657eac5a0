"""Record PyTorch's side into a golden."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from parity.diff.batches import batches_of
from parity.diff.comparison import TorchOptimizer, as_recipe, mean_sine, state_of
from parity.diff.floors import floors_of
from parity.diff.golden import Golden, save
from parity.diff.torch_side import recorded


def record(
    path: str | Path,
    module: torch.nn.Module,
    batch: tuple[Any, ...] | Sequence[tuple[Any, ...]],
    *,
    loss: Callable[..., torch.Tensor] | None = None,
    optimizer: TorchOptimizer | None = None,
    steps: int = 1,
) -> None:
    """Run PyTorch's model and write what it computes to a file, which `diff.check` compares a port with.

    Args:
        path: the file, ending in .npz.
        module: PyTorch's model; it stays as it is.
        batch: NumPy arrays, or a list of such tuples, one a step.
        loss: called with the module and the tensors of a batch. Default None: the one of `diff.compare`.
        optimizer: a function of the module or a `Recipe`. Default None: the parameters stay.
        steps: number of steps, on the same batch unless there are several. Default 1.
    """
    batches = batches_of("batch", batch, steps)
    recipe = as_recipe(optimizer)
    exact, rough = (recorded(module, loss or mean_sine, batches, recipe, dtype) for dtype in ("float64", "float32"))
    floors = [floors_of(low, true) for low, true in zip(rough, exact, strict=True)]
    save(Golden(state_of(module), list(batches), exact, floors, module.training), Path(path))
