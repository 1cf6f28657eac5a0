"""Cases of the losses with a margin."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import optax
import torch.nn.functional as F

from jaxtrain import losses
from parity.cases.losses._table import EACH, case, normal, reduced, uniform
from parity.draws import generator

ROWS, CLASSES = 200, 6
GENERATOR = generator(0)
SIGNS = np.where(GENERATOR.random((ROWS, CLASSES)) < 0.5, -1.0, 1.0).astype(np.float32)
LABELS = GENERATOR.integers(0, CLASSES, ROWS)
LISTS = GENERATOR.integers(-1, CLASSES, (ROWS, CLASSES))
WEIGHT = uniform(1, CLASSES, low=0.2, high=3.0)
# On a grid of quarters, so that many differences are exactly the margin.
GRID = (np.round(normal(2, ROWS, CLASSES) * 4) / 4).astype(np.float32)
OTHER_GRID = (np.round(normal(3, ROWS, CLASSES) * 4) / 4).astype(np.float32)
SCORES = [GRID, normal(4, ROWS, CLASSES), normal(5, ROWS, CLASSES, scale=1e-3), normal(6, ROWS, CLASSES, scale=1e6)]

RANKING = [
    case(
        "margin_ranking_loss",
        "margin 0.5",
        F.margin_ranking_loss,
        [(GRID, OTHER_GRID, SIGNS), (SCORES[1], SCORES[1][::-1].copy(), SIGNS)],
        {
            "gradient one half at the hinge": reduced(lambda x, y, sign: jnp.maximum(0, 0.5 - sign * (x - y))),
            "no margin": losses.margin_ranking_loss,
            "inputs exchanged": lambda x, y, sign, reduction: losses.margin_ranking_loss(y, x, sign, 0.5, reduction),
        },
        margin=0.5,
        wrt=(0, 1, 2),
        reductions=EACH,
    ),
    case(
        "margin_ranking_loss",
        "defaults",
        F.margin_ranking_loss,
        [(GRID, OTHER_GRID, SIGNS), (GRID, GRID.copy(), SIGNS)],
        {"margin 1": partial(losses.margin_ranking_loss, margin=1.0)},
        wrt=(0, 1),
    ),
]

# PyTorch overflows where -target · input is above 88 in float32; there this package is right instead.
SOFT_MARGIN = case(
    "soft_margin_loss",
    "plain",
    F.soft_margin_loss,
    [(scores, SIGNS) for scores in (GRID, SCORES[2], normal(7, ROWS, CLASSES, scale=10.0))],
    {
        "hinge": reduced(lambda input, target: jnp.maximum(0, 1 - input * target)),
        "target 0 or 1 expected": reduced(lambda *pair: optax.sigmoid_binary_cross_entropy(*pair)),
    },
    reductions=EACH,
)


def crammer_singer(input, target, reduction):
    return reduced(optax.losses.multiclass_hinge_loss)(input, target, reduction=reduction)


def hinge_with_half_gradient(input, target):
    is_target = target[:, None] == jnp.arange(CLASSES)
    score = jnp.sum(jnp.where(is_target, input, 0), -1, keepdims=True)
    return jnp.sum(jnp.where(is_target, 0, jnp.maximum(0, 1 - score + input)), -1) / CLASSES


MULTI_MARGIN = [
    case(
        "multi_margin_loss",
        "defaults",
        F.multi_margin_loss,
        [(scores, LABELS) for scores in SCORES],
        {
            "the largest violation only, as optax": crammer_singer,
            "gradient one half at the hinge": reduced(hinge_with_half_gradient),
            "own class counted": lambda input, target, reduction: (
                losses.multi_margin_loss(input, target, reduction=reduction) + 1 / CLASSES
            ),
        },
        reductions=EACH,
    ),
    case(
        "multi_margin_loss",
        "squared, margin 0.5, weighted",
        lambda input, target, weight, reduction: F.multi_margin_loss(
            input, target, 2, 0.5, weight, reduction=reduction
        ),
        [(scores, LABELS, WEIGHT) for scores in SCORES],
        {
            "not squared": lambda input, target, weight, reduction: losses.multi_margin_loss(
                input, target, 1, 0.5, weight, reduction
            ),
            "weight ignored": lambda input, target, weight, reduction: losses.multi_margin_loss(
                input, target, 2, 0.5, reduction=reduction
            ),
            "weight inside the square": lambda input, target, weight, reduction: losses.multi_margin_loss(
                input, target, 2, 0.5, weight**2, reduction
            ),
        },
        ours=lambda input, target, weight, reduction: losses.multi_margin_loss(
            input, target, 2, 0.5, weight, reduction
        ),
        reductions=EACH,
    ),
]


def indicators(target):
    listed = jnp.cumsum(target == -1, -1) == 0
    return jnp.any(listed[..., None] & (target[..., None] == jnp.arange(CLASSES)), -2)


def each_label_once(input, target):
    is_label = indicators(target)
    excess = jnp.maximum(0, 1 - input[:, :, None] + input[:, None, :])
    return jnp.sum(jnp.where(is_label[:, :, None] & ~is_label[:, None, :], excess, 0), (1, 2)) / CLASSES


MULTILABEL = [
    case(
        "multilabel_margin_loss",
        "plain",
        F.multilabel_margin_loss,
        [(scores, LISTS) for scores in SCORES],
        {
            "each label once": reduced(each_label_once),
            "labels after the first -1, too": lambda input, target, reduction: losses.multilabel_margin_loss(
                input, -jnp.sort(-target, -1), reduction
            ),
        },
        reductions=EACH,
    ),
    case(
        "multilabel_soft_margin_loss",
        "weighted",
        F.multilabel_soft_margin_loss,
        [(scores, uniform(8, ROWS, CLASSES), WEIGHT) for scores in (GRID, SCORES[2], SCORES[3])],
        {
            "weight ignored": lambda input, target, _, reduction: losses.multilabel_soft_margin_loss(
                input, target, reduction=reduction
            ),
            "sum over the classes": lambda *arrays, reduction: (
                CLASSES * losses.multilabel_soft_margin_loss(*arrays, reduction=reduction)
            ),
        },
        wrt=(0, 1, 2),
        reductions=EACH,
    ),
]

CASES = [*RANKING, SOFT_MARGIN, *MULTI_MARGIN, *MULTILABEL]
