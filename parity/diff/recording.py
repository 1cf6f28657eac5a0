"""Record PyTorch's side into a golden."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from parity.diff.batches import batches_of
from parity.diff.comparison import TorchOptimizer, as_recipe, mean_sine, state_of
from parity.diff.floors import floors_of
from parity.diff.golden import Golden, save
from parity.diff.inputs import check_loss, check_module, check_weights, named_failures
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

    Raises:
        TypeError: if an argument is of the wrong type.
        FileNotFoundError: if the folder of the path does not exist.
        ValueError: if the path does not end in .npz, or weights or batch hold NaN.
        RuntimeError: if the model or the loss fails on the batch.
    """
    check_module(module, "diff.record", "after the path")
    if Path(path).suffix != ".npz":
        raise ValueError(f"diff.record: expected a path that ends in .npz, got {str(path)!r}")
    if not Path(path).absolute().parent.is_dir():
        raise FileNotFoundError(f"diff.record: expected the folder of {str(path)!r} to exist; make it first")
    batches = batches_of("batch", batch, steps)
    check_loss(loss, None)
    check_weights(state_of(module))
    recipe = as_recipe(optimizer)
    with named_failures("PyTorch's model or loss", batches[0], "pass in batch what they are called with"):
        exact, rough = (recorded(module, loss or mean_sine, batches, recipe, dtype) for dtype in ("float64", "float32"))
    floors = [floors_of(low, true) for low, true in zip(rough, exact, strict=True)]
    save(Golden(state_of(module), list(batches), exact, floors, module.training), Path(path))
