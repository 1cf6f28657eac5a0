"""What is compared for every architecture: logits, 20 steps of training, and the weights there and back."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest
import torch
from flax import nnx

from jaxtrain import interop, losses, optim
from jaxtrain.train import TrainState, make_train_step

STEPS = 20
LIMIT = 1e-12
"""How far ours may be from PyTorch in float64: of the largest logit, and of the distance that the weights travel."""


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    with jax.enable_x64(True):
        yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def assert_same_run() -> Callable[..., None]:
    return compare


def compare(
    theirs: torch.nn.Module,
    ours: nnx.Module,
    given: dict[str, np.ndarray],
    labels: np.ndarray,
    *,
    torch_given: dict[str, np.ndarray] | None = None,
    names: dict[str, str] | None = None,
    as_is: tuple[str, ...] = (),
    tied: dict[str, str] | None = None,
) -> None:
    """Both models on the same inputs: before training, over 20 steps of AdamW, and back in PyTorch.

    Args:
        theirs: the model of transformers, without dropout.
        ours: the same architecture.
        given: the arguments of ours.
        labels: a class for each of the model's answers.
        torch_given: the arguments of theirs, if they differ.
        names: from our names to theirs.
        as_is: names of arrays with our order of axes.
        tied: names of theirs that ours does not have, and the names of what they are tied to.
    """
    tied = tied or {}
    torch.manual_seed(0)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.1)
    tensors = {name: torch.from_numpy(array) for name, array in (torch_given or given).items()}
    start = weights(theirs)
    state = TrainState.create(ours, optim.adamw(1e-3, eps=1e-3))
    state = interop.load_state_dict(state, theirs.state_dict(), names=names, as_is=as_is, ignore=list(tied))
    assert_same_bits(interop.state_dict(state, names=names, as_is=as_is), start, tied)
    assert_same_logits(state, given, theirs, tensors)

    def loss_fn(model: nnx.Module, batch: tuple[dict[str, Any], Any]) -> jax.Array:
        logits = model(**batch[0])
        return losses.cross_entropy(logits.reshape(-1, logits.shape[-1]), batch[1].ravel())

    step = make_train_step(loss_fn)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-3, eps=1e-3)
    theirs.train()
    ours_lost, theirs_lost = [], []
    for _ in range(STEPS):
        state, metrics = step(state, (given, labels))
        ours_lost.append(float(metrics["loss"].value))
        optimizer.zero_grad()
        logits = theirs(**tensors).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), torch.from_numpy(labels).flatten())
        loss.backward()
        optimizer.step()
        theirs_lost.append(loss.item())
    np.testing.assert_allclose(ours_lost, theirs_lost, rtol=LIMIT)

    found, truth = interop.state_dict(state, names=names, as_is=as_is), weights(theirs)
    travelled = max(np.abs(truth[name] - start[name]).max() for name in truth if "num_batches" not in name)
    assert travelled > 0.01
    for name, array in found.items():
        assert np.abs(array - truth[name]).max() <= LIMIT * travelled, name
    back = {name: torch.from_numpy(array) for name, array in found.items()}
    theirs.load_state_dict(back | {name: back[other] for name, other in tied.items()})
    assert_same_bits(interop.state_dict(state, names=names, as_is=as_is), weights(theirs), tied)
    assert_same_logits(state, given, theirs, tensors)


@nnx.jit
def evaluated(model: nnx.Module, given: dict[str, Any]) -> jax.Array:
    return model(**given)


def weights(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def assert_same_bits(found: dict[str, np.ndarray], truth: dict[str, np.ndarray], tied: dict[str, str]) -> None:
    assert found.keys() == truth.keys() - tied.keys()
    assert all(array.tobytes() == np.ascontiguousarray(truth[name]).tobytes() for name, array in found.items())


def assert_same_logits(
    state: TrainState, given: dict[str, np.ndarray], theirs: torch.nn.Module, tensors: dict[str, torch.Tensor]
) -> None:
    """In evaluation mode."""
    expected = theirs.eval()(**tensors).logits.detach().numpy()
    model = state.model()
    model.eval()
    found = np.asarray(evaluated(model, given))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= LIMIT * np.abs(expected).max()


@pytest.fixture(autouse=True)
def _as_in_other_programs(promotion: None) -> None:
    """The ports are written as users write them, and let JAX promote."""
