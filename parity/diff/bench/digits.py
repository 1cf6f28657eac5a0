"""The recipe of the README: a dense network with batch norm and dropout, SGD, clipping and a schedule."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx
from torch.nn import functional as F

from jaxtrain import losses, nn, optim, schedules
from parity.diff.bench.planted import Planted, Subject
from parity.diff.recipe import Recipe

PIXELS, WIDTH, CLASSES, BATCH = 8, 6, 4, 10


class TorchNet(torch.nn.Sequential):
    def __init__(self):
        super().__init__(
            torch.nn.Linear(PIXELS, WIDTH),
            torch.nn.BatchNorm1d(WIDTH),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.2),
            torch.nn.Linear(WIDTH, CLASSES),
        )


class UnscaledDropout(nn.Dropout):
    """Dropout that does not make up for what it drops."""

    def __call__(self, x):
        return super().__call__(x) * (1 - self.p)


def net(options: Mapping[str, Any]) -> nnx.Module:
    rngs = nnx.Rngs(0)
    dropout = UnscaledDropout if options.get("dropout") == "unscaled" else nn.Dropout
    return nnx.Sequential(
        nn.Linear(PIXELS, WIDTH, rngs=rngs),
        nn.BatchNorm(WIDTH, **options.get("norm", {})),
        options.get("act", nnx.relu),
        dropout(options.get("p", 0.2), rngs=rngs),
        nn.Linear(WIDTH, CLASSES, rngs=rngs),
    )


def torch_loss(model, x, labels):
    return F.cross_entropy(model(x), labels, label_smoothing=0.1)


def loss(model, x, labels):
    return losses.cross_entropy(model(x), labels, label_smoothing=0.1)


def others_only(model, x, labels):
    """Smoothing over the other classes."""
    target = jax.nn.one_hot(labels, CLASSES)
    target = target * 0.9 + (1 - target) * 0.1 / (CLASSES - 1)
    return -(target * jax.nn.log_softmax(model(x))).sum(-1).mean()


def smoother(model, x, labels):
    return losses.cross_entropy(model(x), labels, label_smoothing=0.2)


def summed_by_class(model, x, labels):
    return loss(model, x, labels) * CLASSES


RATE = schedules.step_lr(0.1, step_size=1, gamma=0.5)


def behind(count: Any) -> Any:
    return RATE(jnp.maximum(count - 1, 0))


def optimizer(lr: Any = RATE, clip: Any = None, after: Any = None, **options: Any) -> Any:
    sgd = optim.sgd(lr, **{"momentum": 0.9, "weight_decay": 5e-2, **options})
    return optax.chain(optim.clip_grad_norm(0.3) if clip is None else clip, sgd, after or optax.identity())


def each_clipped(limit: float) -> optax.GradientTransformation:
    """Clip the norm of each gradient alone."""

    def update(updates, state, params=None):
        def clipped(g):
            return g * jnp.minimum(1.0, limit / (jnp.linalg.norm(g.reshape(-1)) + 1e-6))

        return jax.tree.map(clipped, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def late_decay() -> Any:
    """Decay after the momentum, inside of the rate."""
    sgd = optim.sgd(1.0, momentum=0.9)

    return optax.chain(
        optim.clip_grad_norm(0.3),
        sgd,
        optax.add_decayed_weights(-5e-2),
        optax.scale_by_schedule(lambda count: RATE(count)),
    )


MISTAKES = (
    Planted("another rate of dropout", "3", "rate of dropout is 0.8", {"p": 0.8}),
    Planted("ε of the norm", "1", "ε of the norm is 0.001", {"norm": {"eps": 1e-3}}),
    Planted("another momentum of the norm", "1", "a new batch weighs 0.01", {"norm": {"momentum": 0.01}}),
    Planted("gelu", "the model itself", "gelu", {"act": nnx.gelu}),
    Planted("elu", "the model itself", "activation is elu", {"act": nnx.elu}),
    Planted("smoothing over other classes", "loss", "other classes alone", loss=others_only),
    Planted("stronger smoothing", "loss", "label smoothing is 0.2", loss=smoother),
    Planted("a sum over classes", "loss", "sum over the classes", loss=summed_by_class),
    Planted("no clipping", "optimizer", "are not clipped", optimizer=optimizer(clip=optax.identity())),
    Planted("clipped values", "optimizer", "each value", optimizer=optimizer(clip=optim.clip_grad_value(0.3))),
    Planted(
        "a norm without 1e-6", "optimizer", "by their norm alone",
        optimizer=optimizer(clip=optax.clip_by_global_norm(0.3)),
    ),
    Planted(
        "momentum as an average", "optimizer", "moving average|lr is 0.01",
        optimizer=optax.chain(
            optim.clip_grad_norm(0.3), optax.add_decayed_weights(5e-2), optax.ema(0.9, debias=False),
            optax.scale_by_schedule(lambda count: -RATE(count)),
        ),
    ),
    Planted("clipped one by one", "optimizer", "norm of each parameter", optimizer=optimizer(clip=each_clipped(0.3))),
    Planted("no schedule", "optimizer", "does not follow", optimizer=optimizer(0.1)),
    Planted("a schedule behind", "optimizer", "one step behind", optimizer=optimizer(behind)),
    Planted("no momentum", "optimizer", "momentum is 0.0", optimizer=optimizer(momentum=0.0)),
    Planted("late decay", "optimizer", "shrinks the weights", optimizer=late_decay()),
    Planted("tenfold rate", "optimizer", "lr is 1.0", optimizer=optimizer(lambda t: 10 * RATE(t))),
)  # fmt: skip

RNG = np.random.default_rng(0)
SUBJECT = Subject(
    "digits",
    TorchNet,
    net,
    (RNG.normal(size=(BATCH, PIXELS)), RNG.integers(0, CLASSES, BATCH)),
    (torch_loss, loss),
    (
        Recipe(
            lambda module: torch.optim.SGD(module.parameters(), 0.1, momentum=0.9, weight_decay=5e-2),
            lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5),
            max_norm=0.3,
        ),
        optimizer(),
    ),
    MISTAKES,
    steps=3,
)
