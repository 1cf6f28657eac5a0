"""A small ResNet: strided convolutions, batch norms, pooling, and a dense layer behind a flattened image."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch.nn import functional as F

from jaxtrain import losses, nn, optim
from parity.diff.bench.planted import Planted, Subject

CHANNELS, CLASSES, BATCH, SIZE = (4, 6), 5, 3, 12

PADDING: Any = ((1, 1), (1, 1))


class TorchBlock(torch.nn.Module):
    def __init__(self, channels, features, stride):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(channels, features, 3, stride, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(features)
        self.conv2 = torch.nn.Conv2d(features, features, 3, 1, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(features)
        self.short = torch.nn.Conv2d(channels, features, 1, stride, bias=False)
        self.bn3 = torch.nn.BatchNorm2d(features)

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.bn3(self.short(x)))


class TorchResNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, CHANNELS[0], 3, 1, 1)
        self.bn = torch.nn.BatchNorm2d(CHANNELS[0])
        self.pool = torch.nn.MaxPool2d(3, 2, 1)
        self.block = TorchBlock(*CHANNELS, 2)
        self.head = torch.nn.Linear(CHANNELS[1] * 9, CLASSES)

    def forward(self, x):
        x = self.block(self.pool(F.relu(self.bn(self.conv(x)))))
        return self.head(torch.flatten(x, 1))


class Block(nnx.Module):
    def __init__(self, channels: int, features: int, stride: int, options: Mapping[str, Any], rngs: nnx.Rngs):
        self.options = nnx.static(dict(options))
        padding = options.get("padding", 1)
        self.conv1 = options.get("conv", _conv)(channels, features, stride, padding, rngs)
        self.bn1 = options.get("norm", nn.BatchNorm)(features, **options.get("norm_options", {}), rngs=rngs)
        self.conv2 = _conv(features, features, 1, 1, rngs)
        self.bn2 = nn.BatchNorm(features, rngs=rngs)
        self.short = nn.Conv(channels, features, (1, 1), stride, bias=False, rngs=rngs)
        self.bn3 = nn.BatchNorm(features, rngs=rngs)

    def __call__(self, x):
        act = self.options.get("act", jax.nn.relu)
        y = self.bn2(self.conv2(act(self.bn1(self.conv1(x)))))
        if self.options.get("residual", True):
            y = y + (
                self.bn3(self.short(x)) if self.options.get("last", True) else jax.nn.relu(self.bn3(self.short(x)))
            )
        return jax.nn.relu(y) if self.options.get("last", True) else y


def _conv(channels: int, features: int, stride: int, padding: Any, rngs: nnx.Rngs) -> nnx.Module:
    return nn.Conv(channels, features, (3, 3), stride, padding, bias=False, rngs=rngs)


def _same(channels: int, features: int, stride: int, padding: Any, rngs: nnx.Rngs) -> nnx.Module:
    return nnx.Conv(channels, features, (3, 3), stride, padding="SAME", use_bias=False, rngs=rngs)


class OtherConv(nn.Conv):
    """A convolution of 3 x 3 by hand."""

    @classmethod
    def make(cls, channels: int, features: int, stride: int, padding: Any, rngs: nnx.Rngs) -> nnx.Module:
        return cls(channels, features, (3, 3), stride, padding, bias=False, rngs=rngs)


class Flipped(OtherConv):
    """A convolution as mathematics has it."""

    def __call__(self, x):
        return nn.conv(x, self.kernel[...][::-1, ::-1], stride=2, padding=1)


class Reflecting(OtherConv):
    """A convolution that reflects the image at its border."""

    def __call__(self, x):
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
        return nn.conv(x, self.kernel[...], stride=2)


class ResNet(nnx.Module):
    def __init__(self, options: Mapping[str, Any], rngs: nnx.Rngs):
        self.options = nnx.static(dict(options))
        self.conv = nn.Conv(3, CHANNELS[0], (3, 3), 1, 1, bias=options.get("bias", True), rngs=rngs)
        self.bn = nn.BatchNorm(CHANNELS[0], rngs=rngs)
        self.pool = options.get("pool", Pool)()
        self.block = Block(*CHANNELS, 2, options, rngs)
        self.head = nnx.Linear(CHANNELS[1] * 9, CLASSES, rngs=rngs)

    def __call__(self, x):
        x = self.bn(self.conv(x))
        x = self.block(self.pool(jax.nn.relu(x) if self.options.get("relu", True) else x))
        x = x if self.options.get("flatten") == "last" else x.transpose(0, 3, 1, 2)
        return self.head(x.reshape(len(x), -1))


class Pool(nnx.Module):
    def __call__(self, x):
        return nnx.max_pool(x, (3, 3), (2, 2), PADDING)


class SamePool(nnx.Module):
    def __call__(self, x):
        return nnx.max_pool(x, (3, 3), (2, 2), "SAME")


class AveragePool(nnx.Module):
    def __call__(self, x):
        return nnx.avg_pool(x, (3, 3), (2, 2), PADDING)


class UnchangedNorm(nn.BatchNorm):
    """A batch norm that forgets its new statistics."""

    def __call__(self, x):
        weight, bias = (vars(self)[name].get_value() for name in ("weight", "bias"))
        return nn.batch_norm(x, None, None, weight, bias, training=True)[0]


class EvaluatingNorm(nn.BatchNorm):
    """A batch norm that always uses its running statistics."""

    def __call__(self, x):
        return super().__call__(x, use_running_average=True)


def flax_norm(features: int, rngs: nnx.Rngs) -> nnx.Module:
    return nnx.BatchNorm(features, momentum=0.9, epsilon=1e-5, rngs=rngs)


def torch_loss(model, x, labels):
    return F.cross_entropy(model(x), labels, label_smoothing=0.1)


def loss(model, x, labels):
    return losses.cross_entropy(model(x), labels, label_smoothing=0.1)


def hard(model, x, labels):
    return losses.cross_entropy(model(x), labels)


def transposed_image(model):
    kernel = model.block.conv2.kernel
    kernel.set_value(kernel.get_value().transpose(1, 0, 2, 3))


def reordered_head(model):
    kernel = model.head.kernel
    value = kernel.get_value().reshape(CHANNELS[1], 9, CLASSES).swapaxes(0, 1)
    kernel.set_value(value.reshape(-1, CLASSES))


SGD: dict[str, Any] = {"momentum": 0.9, "weight_decay": 5e-2}
MISTAKES = (
    Planted('padding "SAME" with a stride', "block.conv1", "SAME", {"conv": _same}),
    Planted("a flipped kernel", "block.conv1", "flipped", {"conv": Flipped.make}),
    Planted("reflected borders", "block.conv1", "reflect", {"conv": Reflecting.make}),
    Planted("Flax's momentum", "block.bn1", "a new batch weighs 0.9", {"norm_options": {"momentum": 0.9}}),
    Planted("Flax's default momentum", "block.bn1", "a new batch weighs 0.01", {"norm_options": {"momentum": 0.01}}),
    Planted("ε of Keras", "block.bn1", "ε of the norm is 0.001", {"norm_options": {"eps": 1e-3}}),
    Planted("statistics of Flax's batch norm", "block.bn1", "biased", {"norm": flax_norm}),
    Planted("forgotten statistics", "block.bn1", "not updated", {"norm": UnchangedNorm}),
    Planted("running statistics in training", "block.bn1", "running statistics in training", {"norm": EvaluatingNorm}),
    Planted('pooling with "SAME"', "pool", "SAME", {"pool": SamePool}),
    Planted("average pooling", "pool", "avg pooling", {"pool": AveragePool}),
    Planted("another activation", "block", "leaky_relu", {"act": jax.nn.leaky_relu}),
    Planted("no residual", "block", "residual", {"residual": False}),
    Planted("activation before the sum", "block", "", {"last": False}),
    Planted("no activation at the start", "the model itself", "no activation", {"relu": False}),
    Planted("flattened channels last", "the model itself", "flattened as it is", {"flatten": "last"}),
    Planted("no bias", "conv", "no bias", {"bias": False}),
    Planted("swapped height and width", "block.conv2", "height and width", spoil=transposed_image),
    Planted("a reordered head", "parameter head.weight", "channels first to channels last", spoil=reordered_head),
    Planted("no label smoothing", "loss", "label smoothing is 0,", loss=hard),
    Planted("another optimizer", "optimizer", "is AdamW", optimizer=optim.adamw(0.1)),
    Planted("no decay", "optimizer", "no weight decay", optimizer=optim.sgd(0.1, momentum=0.9)),
    Planted("Nesterov's momentum", "optimizer", "nesterov is True", optimizer=optim.sgd(0.1, **SGD, nesterov=True)),
    Planted("a damped momentum", "optimizer", "dampening is 0.9", optimizer=optim.sgd(0.1, **SGD, dampening=0.9)),
)  # fmt: skip

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(BATCH, 3, SIZE, SIZE))
SUBJECT = Subject(
    "ResNet",
    TorchResNet,
    lambda options: ResNet(options, nnx.Rngs(0)),
    (IMAGES, np.array([1, 4, 2])),
    (torch_loss, loss),
    (lambda module: torch.optim.SGD(module.parameters(), 0.1, **SGD), optim.sgd(0.1, **SGD)),
    MISTAKES,
    jax_batch=(IMAGES.transpose(0, 2, 3, 1), np.array([1, 4, 2])),
)
