"""Recurrent layers, attention and transformers: PyTorch's weights in, the same numbers, gradients and weights out."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jaxtrain import interop, nn

pytestmark = pytest.mark.usefixtures("float64")

BATCH, TIME, WIDTH = 2, 4, 6
SEQUENCE = (BATCH, TIME, WIDTH)
GIVEN = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
RECURRENT = {"num_layers": 2, "bidirectional": True}
TRANSFORMER = {"d_model": WIDTH, "nhead": 2, "dim_feedforward": 5, "dropout": 0.0, "norm_first": True}


WHOLE = TRANSFORMER | {"norm_first": False, "num_encoder_layers": 2, "num_decoder_layers": 1}


def torch_decoder() -> torch.nn.Module:
    layer = torch.nn.TransformerDecoderLayer(**TRANSFORMER, batch_first=True)
    return torch.nn.TransformerDecoder(layer, 2, torch.nn.LayerNorm(WIDTH))


def torch_encoder() -> torch.nn.Module:
    layer = torch.nn.TransformerEncoderLayer(**TRANSFORMER, batch_first=True)
    return torch.nn.TransformerEncoder(layer, 2, torch.nn.LayerNorm(WIDTH), enable_nested_tensor=False)


def norm() -> nnx.Module:
    return nn.LayerNorm(WIDTH, param_dtype=jnp.float64)


LAYERS: dict[str, tuple[Callable[[], torch.nn.Module], Callable[[], nnx.Module], int]] = {
    "RNN": (
        lambda: torch.nn.RNN(WIDTH, 3, batch_first=True, **RECURRENT),
        lambda: nn.RNN(WIDTH, 3, **RECURRENT, **GIVEN),
        1,
    ),
    "LSTM": (
        lambda: torch.nn.LSTM(WIDTH, 3, batch_first=True, proj_size=2, **RECURRENT),
        lambda: nn.LSTM(WIDTH, 3, proj_size=2, **RECURRENT, **GIVEN),
        1,
    ),
    "GRU": (
        lambda: torch.nn.GRU(WIDTH, 3, batch_first=True, bias=False, **RECURRENT),
        lambda: nn.GRU(WIDTH, 3, bias=False, **RECURRENT, **GIVEN),
        1,
    ),
    "LSTMCell": (lambda: torch.nn.LSTMCell(WIDTH, 3), lambda: nn.LSTMCell(WIDTH, 3, **GIVEN), 1),
    "MultiheadAttention": (
        lambda: torch.nn.MultiheadAttention(WIDTH, 2, batch_first=True, add_bias_kv=True),
        lambda: nn.MultiheadAttention(WIDTH, 2, add_bias_kv=True, **GIVEN),
        3,
    ),
    "MultiheadAttention, separate projections": (
        lambda: torch.nn.MultiheadAttention(WIDTH, 2, batch_first=True, kdim=5, bias=False),
        lambda: nn.MultiheadAttention(WIDTH, 2, kdim=5, bias=False, **GIVEN),
        3,
    ),
    "TransformerEncoder": (
        torch_encoder,
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(**TRANSFORMER, **GIVEN), 2, norm()),
        1,
    ),
    "TransformerDecoder": (
        torch_decoder,
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(**TRANSFORMER, **GIVEN), 2, norm()),
        2,
    ),
    "Transformer": (
        lambda: torch.nn.Transformer(**WHOLE, batch_first=True, activation="gelu"),
        lambda: nn.Transformer(**WHOLE, activation="gelu", **GIVEN),
        2,
    ),
}


def total(results: Any, sine: Callable[[Any], Any]) -> Any:
    """A number that depends on every element of the results."""
    if isinstance(results, tuple):
        return sum(total(result, sine) for result in results)
    return sine(results).sum()


def inputs(name: str, number: int) -> list[np.ndarray]:
    arrays = list(np.random.default_rng(1).normal(size=(number, *SEQUENCE)))
    if name.endswith("Cell"):
        arrays = [array[:, 0] for array in arrays]
    if "separate" in name:
        arrays[1] = arrays[1][..., :5]
    return arrays


@pytest.mark.parametrize("name", LAYERS)
def test_numbers_gradients_and_weights_are_pytorch_s(name: str) -> None:
    reference, make, number = LAYERS[name]
    torch.manual_seed(0)
    theirs = reference()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    arrays = inputs(name, number)
    loss = total(theirs(*map(torch.from_numpy, arrays)), torch.sin)
    loss.backward()

    ours = interop.load_state_dict(make(), theirs.state_dict())
    back = interop.state_dict(ours)
    assert back.keys() == theirs.state_dict().keys()
    assert all(np.array_equal(array, theirs.state_dict()[key].numpy()) for key, array in back.items())

    found, gradients = nnx.jit(nnx.value_and_grad(lambda layer: total(layer(*arrays), jnp.sin)))(ours)
    assert abs(found - loss.item()) <= 1e-12 * abs(loss.item())
    nnx.update(ours, gradients)
    expected = {key: parameter.grad.numpy() for key, parameter in theirs.named_parameters()}
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    for key, gradient in interop.state_dict(ours).items():
        assert np.abs(gradient - expected[key]).max() <= 1e-12 * largest, key


def test_the_layers_of_a_transformer_start_different() -> None:
    """PyTorch draws every matrix of the whole; the copies in a stack alone start equal."""
    torch.manual_seed(0)
    options = WHOLE | {"d_model": 32, "dim_feedforward": 64}
    theirs = torch.nn.Transformer(**options, batch_first=True).state_dict()
    ours = interop.state_dict(nn.Transformer(**options, **GIVEN))
    assert ours.keys() == theirs.keys()
    first, second = (ours[f"encoder.layers.{number}.linear1.weight"] for number in (0, 1))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.1
    for name, array in ours.items():
        if array.ndim == 1:
            continue
        truth = theirs[name].numpy()
        assert array.std() == pytest.approx(truth.std(), rel=0.1), name
        assert np.abs(array).max() == pytest.approx(np.abs(truth).max(), rel=0.02), name
