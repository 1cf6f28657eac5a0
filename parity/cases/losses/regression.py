"""Cases of the losses between real values."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import optax
import torch
import torch.nn.functional as F

from jaxtrain import losses
from parity.case import OfTheseInputs
from parity.cases.losses._table import EACH, case, normal, reduced, uniform

BOTH = (0, 1)

SHAPE = (50, 30)
# On a grid of eighths, so that the errors hit zero and the widths 0.5 and 1 exactly, from both sides.
GRID = (np.resize(np.arange(-20, 20) / 8, SHAPE).astype(np.float32), np.zeros(SHAPE, np.float32))
LIVE = [
    (normal(0, *SHAPE), normal(1, *SHAPE)),
    (normal(2, *SHAPE, scale=1e-12), normal(3, *SHAPE, scale=1e-12)),
    (normal(4, *SHAPE, scale=1e12), normal(5, *SHAPE, scale=1e12)),
]
SCALARS = [(np.float32(error), np.float32(0)) for error in (1.75, -0.3, 1e-12, -1e12)]
PAIRS = [GRID, *LIVE]
MANY = [(normal(6, 100_000), normal(7, 100_000))]
WEIGHTED = [(*pair, uniform(8, *pair[0].shape, high=3.0)) for pair in PAIRS]


def error(input, target):
    return input - target


def absolute(input, target):
    return jnp.abs(input - target)


def half(loss, *pair):
    return 0.5 * loss(*pair)


def weighted_over_count(each):
    return reduced(lambda input, target, weight: weight * each(input - target))


def weight_ignored(loss):
    return lambda input, target, weight, reduction: loss(input, target, reduction=reduction)


def weighted(loss):
    return lambda input, target, weight, **options: loss(input, target, weight=weight, **options)


def rooted_mse(*arrays, **options):
    return torch.sqrt(F.mse_loss(*arrays, **options))


MSE = [
    case(
        "mse_loss",
        "plain",
        F.mse_loss,
        PAIRS,
        {
            "half of the square, as optax.l2_loss": reduced(optax.losses.l2_loss),
            "rooted": lambda *arrays, reduction: jnp.sqrt(losses.mse_loss(*arrays, reduction=reduction)),
        },
        wrt=BOTH,
        reductions=EACH,
    ),
    case(
        "mse_loss", "a hundred thousand elements", F.mse_loss, MANY, {"sum": partial(losses.mse_loss, reduction="sum")}
    ),
    case(
        "mse_loss",
        "weighted",
        weighted(F.mse_loss),
        WEIGHTED,
        {
            "weight ignored": weight_ignored(losses.mse_loss),
            "weight squared": lambda input, target, weight, reduction: losses.mse_loss(
                weight * input, weight * target, reduction=reduction
            ),
        },
        ours=weighted(losses.mse_loss),
        wrt=(0, 1, 2),
        reductions=EACH,
    ),
    case(
        "mse_loss",
        "mean over the weight",
        weighted(F.mse_loss),
        WEIGHTED,
        {"mean over the count": partial(weighted_over_count(jnp.square), reduction="mean")},
        ours=weighted(losses.mse_loss),
    ),
]

# PyTorch's root has no finite gradient at zero error, so the elementwise case stays away from it.
RMSE = [
    case(
        "rmse_loss",
        "plain",
        rooted_mse,
        PAIRS,
        {
            "epsilon in the root": OfTheseInputs(
                lambda *arrays, reduction: jnp.sqrt(losses.mse_loss(*arrays, reduction=reduction) + 1e-12)
            ),
            "root before the mean": losses.l1_loss,
        },
        reductions=("mean", "sum"),
        wrt=BOTH,
    ),
    case(
        "rmse_loss",
        "none",
        rooted_mse,
        LIVE,
        {"signed": error, "square": partial(losses.mse_loss, reduction="none")},
        reduction="none",
    ),
    case(
        "rmse_loss",
        "weighted",
        weighted(rooted_mse),
        WEIGHTED,
        {"weight outside the root": lambda input, target, weight: losses.rmse_loss(input, target) * weight.mean()},
        ours=weighted(losses.rmse_loss),
        wrt=(0, 1, 2),
    ),
]

L1 = [
    case(
        "l1_loss",
        "plain",
        F.l1_loss,
        PAIRS,
        {"gradient 1 at zero error, as jnp.abs": reduced(absolute), "square": losses.mse_loss},
        wrt=BOTH,
        reductions=EACH,
    ),
    case(
        "l1_loss",
        "weighted",
        weighted(F.l1_loss),
        WEIGHTED,
        {"weight ignored": weight_ignored(losses.l1_loss)},
        ours=weighted(losses.l1_loss),
        wrt=(0, 1, 2),
        reductions=EACH,
    ),
    case(
        "l1_loss",
        "mean over the weight",
        weighted(F.l1_loss),
        WEIGHTED,
        {"mean over the count": partial(weighted_over_count(jnp.abs), reduction="mean")},
        ours=weighted(losses.l1_loss),
    ),
]

SMOOTH_L1 = [
    case(
        "smooth_l1_loss",
        "beta 0.5",
        F.smooth_l1_loss,
        PAIRS,
        {
            "Huber's loss, not divided by beta": reduced(partial(optax.losses.huber_loss, delta=0.5)),
            "default beta": losses.smooth_l1_loss,
        },
        beta=0.5,
        wrt=BOTH,
        reductions=EACH,
    ),
    case(
        "smooth_l1_loss",
        "defaults",
        F.smooth_l1_loss,
        PAIRS,
        {
            "without the offset": lambda *pair: jnp.where(
                absolute(*pair) < 1, error(*pair) ** 2 / 2, absolute(*pair)
            ).mean()
        },
        wrt=BOTH,
    ),
    case(
        "smooth_l1_loss",
        "beta 0",
        F.smooth_l1_loss,
        PAIRS,
        {
            "zero, as Huber's loss of delta 0": lambda *pair: optax.losses.huber_loss(*pair, delta=0.0).mean(),
            "gradient 1 at zero error": lambda *pair: absolute(*pair).mean(),
        },
        beta=0.0,
        wrt=BOTH,
    ),
]

HUBER = [
    case(
        "huber_loss",
        "delta 0.5",
        F.huber_loss,
        PAIRS,
        {
            "divided by delta": partial(losses.smooth_l1_loss, beta=0.5),
            "default delta": losses.huber_loss,
        },
        delta=0.5,
        wrt=BOTH,
        reductions=EACH,
    ),
    case(
        "huber_loss",
        "defaults",
        F.huber_loss,
        PAIRS,
        {"without the half": lambda *pair: 2 * losses.huber_loss(*pair), "square": losses.mse_loss},
        wrt=BOTH,
    ),
    case(
        "huber_loss",
        "weighted",
        weighted(F.huber_loss),
        WEIGHTED,
        {"weight ignored": weight_ignored(partial(losses.huber_loss, delta=2.0))},
        ours=weighted(losses.huber_loss),
        delta=2.0,
        wrt=(0, 1, 2),
        reductions=EACH,
    ),
    case(
        "huber_loss",
        "weighted mean over the count",
        weighted(F.huber_loss),
        WEIGHTED,
        {
            "mean over the weight": lambda input, target, weight: (
                losses.huber_loss(input, target, weight=weight, reduction="sum") / weight.sum()
            )
        },
        ours=weighted(losses.huber_loss),
    ),
]

SCALAR = [
    case(
        component,
        "scalars",
        reference,
        SCALARS,
        {"half": partial(half, getattr(losses, component))},
        wrt=BOTH,
    )
    for component, reference in (
        ("mse_loss", F.mse_loss),
        ("rmse_loss", rooted_mse),
        ("l1_loss", F.l1_loss),
        ("smooth_l1_loss", F.smooth_l1_loss),
        ("huber_loss", F.huber_loss),
    )
]

CASES = [*MSE, *RMSE, *L1, *SMOOTH_L1, *HUBER, *SCALAR]
