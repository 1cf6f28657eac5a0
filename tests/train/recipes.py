"""What the tests of recipes share: PyTorch's loop, and a state that begins with its weights."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from jaxtrain import interop, losses
from jaxtrain.train import TrainState

QUIET: dict[str, Any] = {"shuffle": False, "progress": False}


def rows(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *shape))


def labels(count: int, classes: int) -> np.ndarray:
    return np.random.default_rng(9).integers(0, classes, size=count)


def classify(model: Any, batch: Any) -> Any:
    x, y = batch
    logits = model(x)
    return losses.cross_entropy(logits, y), {"accuracy": logits.argmax(-1) == y}


def nothing() -> None:
    """What happens by default."""


def looped(
    loss_of: Callable[..., torch.Tensor],
    optimizer: torch.optim.Optimizer,
    batches: Callable[[int], Iterable[Any]],
    epochs: range,
    *,
    before_step: Callable[[], Any] = nothing,
    after_step: Callable[[], Any] = nothing,
    after_epoch: Callable[[], Any] = nothing,
) -> list[float]:
    """The two nested loops of a script; the mean loss of each epoch."""
    means = []
    for epoch in epochs:
        total, rows = 0.0, 0
        for batch in batches(epoch):
            tensors = [torch.as_tensor(leaf) for leaf in batch]
            optimizer.zero_grad()
            loss = loss_of(*tensors)
            loss.backward()
            before_step()
            optimizer.step()
            after_step()
            total, rows = total + loss.item() * len(tensors[0]), rows + len(tensors[0])
        means.append(total / rows)
        after_epoch()
    return means


def cut(arrays: tuple[np.ndarray, ...], size: int) -> Callable[[int], Iterable[Any]]:
    """Batches in order, the same in every epoch."""
    parts = [tuple(leaf[row : row + size] for leaf in arrays) for row in range(0, len(arrays[0]), size)]
    return lambda epoch: parts


def loaded(model: Any, theirs: torch.nn.Module, **rules: Any) -> Any:
    """The module in float64 with PyTorch's weights."""
    values = nnx.state(model, nnx.Not(nnx.RngState))
    wide = jax.tree.map(lambda leaf: leaf.astype(float) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, values)
    nnx.update(model, wide)
    return interop.load_state_dict(model, theirs.state_dict(), **rules)


def assert_same_weights(found: TrainState | nnx.Module, theirs: torch.nn.Module, *, but: str = "none") -> None:
    """The weights and statistics are PyTorch's to the last digits of float64, but for names that end in `but`."""
    weights, truth = interop.state_dict(found), theirs.state_dict()
    shared = [name for name in truth if name in weights and not name.endswith(but)]
    for name in shared:
        np.testing.assert_allclose(weights[name], truth[name], rtol=1e-8, atol=1e-11, err_msg=name)
    # PyTorch lists a tied weight twice, and we the state that a language model carries.
    assert len(shared) >= max(len(weights), len(truth)) - 1
