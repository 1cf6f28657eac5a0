"""`check_*` accept right code, whatever the inputs, and see a mistake in the same code."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from jax import lax

import parity
from jaxtrain import losses, nn
from parity.subjects.layer import channels_last, channels_second

# Flax and Optax promote dtypes and add axes.
pytestmark = pytest.mark.usefixtures("promotion")

F = torch.nn.functional


def numbers(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of a random size, around zero or far from it."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) * rng.choice([0.3, 1.0, 3.0]) + rng.choice([0.0, 1.0, 5.0])).astype(np.float32)


def names(variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A weight of several axes is a kernel with its axes the other way round."""

    def reversed_axes(values):
        return values.transpose(*range(2, values.ndim), 1, 0)

    kernels = {name: re.sub("weight", "kernel", name) for name, values in variables.items() if values.ndim > 1}
    return {
        kernels.get(name, name): reversed_axes(values) if name in kernels else values
        for name, values in variables.items()
    }


def scales(variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.replace("weight", "scale"): values for name, values in variables.items()}


class First(nnx.Module):
    """A recurrent layer's output without its final state."""

    def __init__(self, kind: Any, rngs: nnx.Rngs):
        self.layer = kind(4, 6, rngs=rngs)

    def __call__(self, input):
        return self.layer(input)[0]


class TorchFirst(torch.nn.Module):
    def __init__(self, kind: Any):
        super().__init__()
        self.layer = kind(4, 6, batch_first=True)

    def forward(self, input):
        return self.layer(input)[0]


class ConvThenNorm(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv, self.norm = nn.Conv(3, 8, (3, 3), padding=1, rngs=rngs), nn.BatchNorm(8)

    def __call__(self, input):
        return jax.nn.relu(self.norm(self.conv(input)))


class TorchConvThenNorm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8)

    def forward(self, input):
        return torch.relu(self.norm(self.conv(input)))


@dataclass
class Row:
    """A layer, PyTorch's, and the shape of their inputs."""

    ours: Callable[[nnx.Rngs], nnx.Module]
    reference: Callable[[], torch.nn.Module]
    shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=lambda: {"variables": names})

    def check(self, seed: int, ours: Callable[[nnx.Rngs], nnx.Module] | None = None) -> None:
        parity.check_layer(ours or self.ours, self.reference, numbers(seed, self.shape), **self.options)


IMAGES = {"to_torch": channels_second, "from_torch": channels_last, "variables": names}
LAYERS = {
    "Flax's LayerNorm": Row(
        lambda rngs: nnx.LayerNorm(8, epsilon=1e-5, rngs=rngs),
        lambda: torch.nn.LayerNorm(8),
        (16, 8),
        {"variables": scales},
    ),
    "LSTM": Row(partial(First, nn.LSTM), partial(TorchFirst, torch.nn.LSTM), (3, 7, 4)),
    "convolution and batch norm": Row(ConvThenNorm, TorchConvThenNorm, (4, 6, 6, 3), IMAGES),
    "Flax's Linear": Row(lambda rngs: nnx.Linear(8, 5, rngs=rngs), lambda: torch.nn.Linear(8, 5), (16, 8)),
    "Flax's GroupNorm": Row(
        lambda rngs: nnx.GroupNorm(8, num_groups=2, epsilon=1e-5, rngs=rngs),
        lambda: torch.nn.GroupNorm(2, 8),
        (4, 6, 6, 8),
        IMAGES | {"variables": scales},
    ),
    "Flax's RMSNorm": Row(
        lambda rngs: nnx.RMSNorm(8, epsilon=1e-5, rngs=rngs),
        lambda: torch.nn.RMSNorm(8, eps=1e-5),
        (16, 8),
        {"variables": scales},
    ),
    "Flax's Conv": Row(
        lambda rngs: nnx.Conv(3, 8, (3, 3), padding=1, rngs=rngs),
        lambda: torch.nn.Conv2d(3, 8, 3, padding=1),
        (4, 6, 6, 3),
        IMAGES,
    ),
    "Linear": Row(lambda rngs: nn.Linear(512, 5, rngs=rngs), lambda: torch.nn.Linear(512, 5), (16, 512)),
    "Conv": Row(
        lambda rngs: nn.Conv(3, 8, (3, 3), padding=1, rngs=rngs),
        lambda: torch.nn.Conv2d(3, 8, 3, padding=1),
        (4, 6, 6, 3),
        IMAGES,
    ),
    "BatchNorm": Row(lambda rngs: nn.BatchNorm(8), lambda: torch.nn.BatchNorm2d(8), (4, 6, 6, 8), IMAGES),
    "InstanceNorm": Row(
        lambda rngs: nn.InstanceNorm(8, affine=True),
        lambda: torch.nn.InstanceNorm2d(8, affine=True),
        (4, 6, 6, 8),
        IMAGES,
    ),
    "GroupNorm": Row(lambda rngs: nn.GroupNorm(2, 8), lambda: torch.nn.GroupNorm(2, 8), (4, 6, 6, 8), IMAGES),
    "LayerNorm": Row(lambda rngs: nn.LayerNorm(8), lambda: torch.nn.LayerNorm(8), (16, 8)),
    "RMSNorm": Row(lambda rngs: nn.RMSNorm(8), lambda: torch.nn.RMSNorm(8), (16, 8)),
    "LocalResponseNorm": Row(
        lambda rngs: nn.LocalResponseNorm(3), lambda: torch.nn.LocalResponseNorm(3), (4, 6, 6, 8), IMAGES
    ),
    "PReLU": Row(lambda rngs: nn.PReLU(8), lambda: torch.nn.PReLU(8), (4, 6, 6, 8), IMAGES),
    "GRU": Row(partial(First, nn.GRU), partial(TorchFirst, torch.nn.GRU), (3, 7, 4)),
    "RNN": Row(partial(First, nn.RNN), partial(TorchFirst, torch.nn.RNN), (3, 7, 4)),
    "TransformerEncoderLayer": Row(
        lambda rngs: nn.TransformerEncoderLayer(8, 2, 16, 0.0, rngs=rngs),
        lambda: torch.nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True),
        (3, 5, 8),
    ),
}


@pytest.mark.parametrize("name", ["Flax's LayerNorm", "LSTM"])
def test_right_layers_pass(name):
    for seed in (2, 6, 13):
        LAYERS[name].check(seed)


@pytest.mark.long
@pytest.mark.parametrize("name", LAYERS)
def test_right_layers_pass_for_a_hundred_inputs(name):
    for seed in range(100):
        LAYERS[name].check(seed)


def halved(dtype: Any) -> Callable[[jax.Array], jax.Array]:
    """A float32 result that went through half precision; XLA takes two casts that undo each other away."""
    bits = jnp.finfo(dtype)
    return lambda output: lax.reduce_precision(output, bits.nexp, bits.nmant) if output.dtype == jnp.float32 else output


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def with_gradient(change: Callable[[jax.Array], jax.Array], input: jax.Array) -> jax.Array:
    """The input, whose gradient goes through `change`."""
    return input


with_gradient.defvjp(lambda change, input: (input, None), lambda change, _, gradient: (change(gradient),))

Call = Callable[..., jax.Array]


def output(change: Callable[[jax.Array], jax.Array]) -> Callable[[Call], Call]:
    return lambda call: lambda *arrays: change(call(*arrays))


def gradient(change: Callable[[jax.Array], jax.Array]) -> Callable[[Call], Call]:
    return lambda call: lambda first, *others: call(with_gradient(change, first), *others)


CHANGES = {
    "bfloat16": output(halved(jnp.bfloat16)),
    "float16": output(halved(jnp.float16)),
    "a bfloat16 gradient": gradient(halved(jnp.bfloat16)),
    "a factor": output(lambda values: values * (1 + 1e-6)),
    "one element": output(lambda values: values.ravel().at[3].multiply(1.001).reshape(values.shape)),
}
"""Mistakes by what they do, as functions from the right call to the wrong one."""


def changed(ours: Callable[..., Any], change: Callable[[Call], Call]) -> Callable[[nnx.Rngs], nnx.Module]:
    """The layer with a mistake."""

    def make(rngs):
        layer = ours(rngs)
        kind = type(layer)

        def call(self, input):
            return change(partial(kind.__call__, self))(input)

        layer.__class__ = type("Changed", (kind,), {"__call__": call})
        return layer

    return make


def check_changes(name: str, changes: Collection[str], seeds: int) -> None:
    for change in changes:
        wrong = changed(LAYERS[name].ours, CHANGES[change])
        for seed in range(seeds):
            with pytest.raises(AssertionError, match="gradient" if "gradient" in change else "output"):
                LAYERS[name].check(seed, wrong)


@pytest.mark.parametrize(
    ("name", "changes"), [("Flax's LayerNorm", ["float16", "a factor"]), ("RNN", ["a bfloat16 gradient"])]
)
def test_wrong_layers_fail(name, changes):
    check_changes(name, changes, 1)


@pytest.mark.long
@pytest.mark.parametrize("name", LAYERS)
def test_wrong_layers_fail_whatever_is_wrong(name):
    check_changes(name, CHANGES, 3)


LOSSES = {
    "cross entropy": (losses.cross_entropy, F.cross_entropy, lambda seed: labels(seed)),
    "Optax's cross entropy": (
        lambda x, y: optax.softmax_cross_entropy_with_integer_labels(x, y).mean(),
        F.cross_entropy,
        lambda seed: labels(seed),
    ),
    "mean squares": (lambda x, y: ((x - y) ** 2).mean(), F.mse_loss, lambda seed: pair(seed)),
    "Huber's": (losses.huber_loss, F.huber_loss, lambda seed: pair(seed)),
    "Optax's Huber": (
        lambda x, y: optax.huber_loss(x, y).mean(),
        F.huber_loss,
        lambda seed: pair(seed),
    ),
    "binary cross entropy": (
        losses.binary_cross_entropy_with_logits,
        F.binary_cross_entropy_with_logits,
        lambda seed: (numbers(seed, (64,)), np.random.default_rng(seed).random(64).astype(np.float32)),
    ),
    "log of the sum": (
        lambda x: jnp.log(jnp.exp(x).sum(-1)).sum(),
        lambda x: torch.logsumexp(x, -1).sum(),
        lambda seed: (numbers(seed, (5, 30)),),
    ),
    "GELU": (
        jax.nn.gelu,
        partial(F.gelu, approximate="tanh"),
        lambda seed: (numbers(seed, (6, 8)),),
    ),
    "Mish": (jax.nn.mish, F.mish, lambda seed: (numbers(seed, (6, 8)),)),
}
"""Ours, PyTorch's, and inputs by seed."""


def labels(seed: int) -> tuple[np.ndarray, np.ndarray]:
    return numbers(seed, (16, 10)), np.random.default_rng(seed).integers(0, 10, 16)


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    first = numbers(seed, (9, 20))
    return first, first + 2 * numbers(seed + 1000, (9, 20)) % 3 - 3


def check_losses(name: str, seeds: int) -> None:
    ours, reference, inputs = LOSSES[name]
    for seed in range(seeds):
        parity.check_loss(ours, reference, inputs(seed))


@pytest.mark.parametrize("name", ["Optax's cross entropy", "GELU", "Mish"])
def test_right_losses_pass(name):
    check_losses(name, 4)


@pytest.mark.long
@pytest.mark.parametrize("name", LOSSES)
def test_right_losses_pass_for_a_hundred_inputs(name):
    check_losses(name, 100)


@pytest.mark.long
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("change", ["bfloat16", "float16", "a bfloat16 gradient", "a factor"])
def test_wrong_losses_fail(name, change):
    ours, reference, inputs = LOSSES[name]
    wrong = CHANGES[change](ours)
    for seed in range(3):
        with pytest.raises(AssertionError, match="gradient" if "gradient" in change else "value"):
            parity.check_loss(wrong, reference, inputs(seed))
