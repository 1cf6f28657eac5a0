"""The network of the digits, with gradients accumulated over two batches of different sizes, AdamW and clipping."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from jaxtrain import optim, schedules
from parity.diff.bench import digits
from parity.diff.bench.planted import Planted, Subject
from parity.diff.recipe import Recipe

SIZES, LIMIT, LR, DECAY = (10, 6, 10, 6), 0.3, 1e-2, 0.1
RATE = schedules.step_lr(LR, step_size=1, gamma=0.5)
CLIP = optim.clip_grad_norm(LIMIT)


def adamw(lr: Any = RATE) -> optax.GradientTransformation:
    return optim.adamw(lr, weight_decay=DECAY)


def accumulated(*parts: optax.GradientTransformation) -> Any:
    return optax.MultiSteps(optax.chain(*parts), 2)


def by_size() -> Any:
    """Each batch weighs as much as it has examples."""
    return optax.scale_by_schedule(lambda count: jnp.where(jnp.asarray(count) % 2 == 0, 20 / 16, 12 / 16))


def by_hand(correction: Any = lambda beta, t: 1 - beta**t, inside: bool = False) -> optax.GradientTransformation:
    """AdamW as one writes it, with its bias corrections and its root as they are given."""

    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return jnp.zeros((), jnp.int32), zeros, zeros

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        count, m, v = state
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, updates)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, updates)
        first, second = correction(0.9, count + 1.0), correction(0.999, count + 1.0)

        def change(m: Any, v: Any, p: Any) -> Any:
            m, v = m / first, v / second
            root = jnp.sqrt(v + 1e-8) if inside else jnp.sqrt(v) + 1e-8
            return -RATE(count) * (m / root + DECAY * p)

        return jax.tree.map(change, m, v, params), (count + 1, m, v)

    return optax.GradientTransformation(init, update)


def in_float32(beta: float, t: Any) -> Any:
    return (1 - jnp.float32(beta) ** t.astype(jnp.float32)).astype(t.dtype)


PLAIN = Recipe(lambda module: torch.optim.SGD(module.parameters(), LR), accumulate=2)
SUM = replace(PLAIN, accumulation="sum")

MISTAKES = (
    Planted(
        "summed gradients", "optimizer", "batches are summed",
        optimizer=accumulated(optax.scale(2.0), optim.sgd(LR)), recipe=PLAIN,
    ),
    Planted("a step for each batch", "optimizer", "each batch makes a step", optimizer=optax.chain(CLIP, adamw())),
    Planted(
        "clipping before accumulation", "optimizer", "before they are accumulated",
        optimizer=optax.chain(CLIP, accumulated(adamw())),
    ),
    Planted(
        "batches weighted by size", "optimizer", "number of examples as weights",
        optimizer=optax.chain(by_size(), accumulated(CLIP, adamw())),
    ),
    Planted(
        "a schedule of batches", "optimizer", "the schedule counts batches",
        optimizer=accumulated(CLIP, adamw(lambda count: RATE(2 * count + 1))),
    ),
    Planted(
        "averaged gradients", "optimizer", "batches are averaged",
        optimizer=accumulated(optim.sgd(LR)), recipe=SUM,
    ),
    Planted(
        "bias correction in float32", "optimizer", "computed in float32",
        optimizer=accumulated(CLIP, by_hand(in_float32)),
    ),
    Planted(
        "no bias correction", "optimizer", "moments are not corrected",
        optimizer=accumulated(CLIP, by_hand(lambda beta, t: 1.0)),
    ),
    Planted(
        "ε inside of Adam's root", "optimizer", "inside of the root",
        optimizer=accumulated(CLIP, by_hand(inside=True)),
    ),
    Planted(
        "steps counted from 2", "optimizer", "one step more",
        optimizer=accumulated(CLIP, by_hand(lambda beta, t: 1 - beta ** (t + 1))),
    ),
    Planted("dropout without a scale", "3", "multiplies what it keeps by 1,", {"dropout": "unscaled"}),
)  # fmt: skip

RNG = np.random.default_rng(1)
BATCHES = [(RNG.normal(size=(size, digits.PIXELS)), RNG.integers(0, digits.CLASSES, size)) for size in SIZES]
SUBJECT = Subject(
    "accumulated",
    digits.TorchNet,
    digits.net,
    BATCHES,
    (digits.torch_loss, digits.loss),
    (
        Recipe(
            lambda module: torch.optim.AdamW(module.parameters(), LR, weight_decay=DECAY),
            lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5),
            max_norm=LIMIT,
            accumulate=2,
        ),
        accumulated(CLIP, adamw()),
    ),
    MISTAKES,
)
