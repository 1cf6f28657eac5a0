"""A residual network: convolutions and batch norms, whose running statistics are compared as well."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from transformers import ResNetConfig, ResNetForImageClassification

from jaxtrain import nn

WIDTHS = [4, 8]
LABELS = {"num_labels": 3}
CONFIG = ResNetConfig(embedding_size=4, hidden_sizes=WIDTHS, depths=[1, 2], layer_type="basic", **LABELS)
NAMES = {
    "^stem": "resnet.embedder.embedder",
    r"^blocks\.0": "resnet.encoder.stages.0.layers.0",
    r"^blocks\.1": "resnet.encoder.stages.1.layers.0",
    r"^blocks\.2": "resnet.encoder.stages.1.layers.1",
}


class Convolution(nnx.Module):
    def __init__(self, channels: int, out: int, size: int, stride: int = 1, **given: Any) -> None:
        self.convolution = nn.Conv(channels, out, (size, size), stride, size // 2, bias=False, **given)
        self.normalization = nn.BatchNorm(out, param_dtype=jnp.float64)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.normalization(self.convolution(x))


class Block(nnx.Module):
    def __init__(self, channels: int, out: int, stride: int, **given: Any) -> None:
        self.shortcut = nnx.data(Convolution(channels, out, 1, stride, **given) if stride > 1 else None)
        self.layer = nnx.List([Convolution(channels, out, 3, stride, **given), Convolution(out, out, 3, **given)])

    def __call__(self, x: jax.Array) -> jax.Array:
        residual = x if self.shortcut is None else self.shortcut(x)
        return jax.nn.relu(residual + self.layer[1](jax.nn.relu(self.layer[0](x))))


class ResNet(nnx.Module):
    def __init__(self, **given: Any) -> None:
        narrow, wide = WIDTHS
        self.stem = Convolution(CONFIG.num_channels, CONFIG.embedding_size, 7, 2, **given)
        sizes = [(CONFIG.embedding_size, narrow, 1), (narrow, wide, 2), (wide, wide, 1)]
        self.blocks = nnx.List([Block(*size, **given) for size in sizes])
        self.classifier = nnx.List([nnx.Dict(), nn.Linear(wide, CONFIG.num_labels, **given)])

    def __call__(self, images: jax.Array) -> jax.Array:
        x = jax.nn.relu(self.stem(images))
        x = nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for block in self.blocks:
            x = block(x)
        return self.classifier[1](x.mean((1, 2)))


def test_resnet(assert_same_run) -> None:
    images = np.random.default_rng(0).normal(size=(4, 16, 16, CONFIG.num_channels))
    assert_same_run(
        ResNetForImageClassification(CONFIG),
        ResNet(param_dtype=jnp.float64, rngs=nnx.Rngs(0)),
        {"images": images},
        np.array([0, 1, 2, 1]),
        torch_given={"pixel_values": np.moveaxis(images, -1, 1).copy()},
        names=NAMES,
    )
