"""Running statistics of batch norms, recomputed for parameters that were not trained, such as averages."""

from collections.abc import Iterable
from typing import Any

import jax
from flax import nnx


def update_bn(loader: Iterable[Any], model: nnx.Module) -> None:
    """Recompute the running statistics of a model's batch norms, in place.

    The statistics are reset, and become the mean over all batches of the loader, which the model sees in training mode.
    Parameters, momenta and modes stay as they are. Without a batch norm that tracks statistics nothing happens.

    Args:
        loader: batches; of a tuple or list, the first element is the model's input.
        model: a module with `jaxtrain.nn.BatchNorm` layers. Other layers count as well if they have a momentum and a
            method `reset_running_stats`, and if a momentum of None makes them average over all batches.

    Raises:
        ValueError: if the loader is empty.
        TypeError: if `model` is not a module, or has a batch norm of Flax.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn, train
        >>> model = nn.BatchNorm(1)
        >>> train.update_bn([jnp.array([[1.0], [3.0]]), jnp.array([[5.0], [9.0]])], model)
        >>> print(model.running_mean[...], model.running_var[...])
        [4.5] [5.]

    PyTorch: `torch.optim.swa_utils.update_bn`, which accepts an empty loader and leaves means of 0 and variances of 1.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018,
    https://arxiv.org/abs/1803.05407
    """
    if not isinstance(model, nnx.Module):
        raise TypeError(
            f"update_bn: model must be an nnx.Module, got {type(model).__name__}; call update_bn(batches, model), with "
            "state.model() for a state, and state.with_model(model) afterwards"
        )
    copy = nnx.clone(model)
    copy.train()
    if not _reset(copy):
        return
    graph, state = nnx.split(copy)

    @jax.jit
    def see(state: nnx.State, batch: jax.Array) -> nnx.State:
        module = nnx.merge(graph, state)
        module(batch)
        return nnx.state(module)

    empty = True
    for batch in loader:
        state = see(state, batch[0] if isinstance(batch, tuple | list) else batch)
        empty = False
    if empty:
        raise ValueError("update_bn: expected at least one batch, got an empty loader; an iterator can be used up")
    nnx.update(model, state)


def _reset(model: nnx.Module) -> bool:
    """Let the batch norms of `model` begin an average over all batches; return whether any of them keeps statistics."""
    found = False
    module: Any
    for path, module in nnx.iter_modules(model):
        if isinstance(module, nnx.BatchNorm):
            raise TypeError(
                f"update_bn: expected batch norms of jaxtrain.nn, got {type(module).__name__} of Flax at "
                f"{'/'.join(map(str, path)) or 'the top'}; use jaxtrain.nn.BatchNorm"
            )
        if hasattr(module, "reset_running_stats") and module.running_mean is not None:
            module.reset_running_stats()
            module.momentum = None
            found = True
    return found
