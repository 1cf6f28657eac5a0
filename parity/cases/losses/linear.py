"""Cases of the cross-entropy of a linear layer."""

from functools import partial

import jax.numpy as jnp
import numpy as np

from jaxtrain import losses
from parity.cases.losses._table import EACH, case, normal, simplex, uniform
from parity.draws import generator
from parity.references.older_torch import linear_cross_entropy

ROWS, FEATURES, CLASSES = 192, 8, 20
LABELS = np.where(np.arange(ROWS) % 5 == 2, -100, generator(0).integers(0, CLASSES, ROWS))
INPUT, KERNEL = normal(1, ROWS, FEATURES), normal(2, CLASSES, FEATURES)
# Of logits in the hundreds a few rows make almost all of the errors: that many of them that no single one decides.
LARGE = [(normal(seed, ROWS, FEATURES), 100 * normal(seed + 1, CLASSES, FEATURES), LABELS) for seed in range(10, 22, 2)]
BIAS, WEIGHT = normal(3, CLASSES), uniform(4, CLASSES, low=0.2, high=3.0)


def torch_affine(input, kernel, target, bias, weight, **options):
    return linear_cross_entropy(input, kernel, target, linear_bias=bias, weight=weight, **options)


def affine(input, kernel, target, bias, weight, **options):
    return losses.linear_cross_entropy(input, kernel, target, linear_bias=bias, weight=weight, **options)


def without_bias(input, kernel, target, _, weight, **options):
    return losses.linear_cross_entropy(input, kernel, target, weight=weight, **options)


CASES = [
    case(
        "linear_cross_entropy",
        "classes in chunks of 64",
        linear_cross_entropy,
        [(INPUT, KERNEL, LABELS), *LARGE],
        {
            "class 0 ignored": partial(losses.linear_cross_entropy, ignore_index=0),
            "kernel halved": lambda input, kernel, target, reduction: losses.linear_cross_entropy(
                input, kernel / 2, target, reduction=reduction
            ),
        },
        ours=partial(losses.linear_cross_entropy, chunk_size=64),
        wrt=(0, 1),
        reductions=EACH,
    ),
    case(
        "linear_cross_entropy",
        "mean over chunks of 80, 80 and 32",
        linear_cross_entropy,
        [(INPUT, KERNEL, LABELS)],
        {
            "mean of the chunks' means": lambda input, kernel, target: jnp.mean(
                jnp.stack(
                    [losses.linear_cross_entropy(input[k : k + 64], kernel, target[k : k + 64]) for k in (0, 64, 128)]
                )
            )
        },
        ours=partial(losses.linear_cross_entropy, chunk_size=80),
        wrt=(0, 1),
    ),
    case(
        "linear_cross_entropy",
        "bias, weight, smoothing",
        torch_affine,
        [(INPUT, KERNEL, LABELS, BIAS, WEIGHT)],
        {"no bias": partial(without_bias, label_smoothing=0.1), "no smoothing": affine},
        ours=affine,
        label_smoothing=0.1,
        wrt=(0, 1, 3),
        reductions=EACH,
    ),
    case(
        "linear_cross_entropy",
        "probabilities",
        linear_cross_entropy,
        [(INPUT, KERNEL, simplex(5, ROWS, CLASSES))],
        {"label smoothing on": partial(losses.linear_cross_entropy, label_smoothing=0.01)},
        wrt=(0, 1, 2),
    ),
    case(
        "linear_cross_entropy",
        "K-dimensional",
        linear_cross_entropy,
        [(INPUT, normal(6, CLASSES, 3, FEATURES), generator(7).integers(0, CLASSES, (ROWS, 3)))],
        {"label smoothing on": partial(losses.linear_cross_entropy, label_smoothing=0.01)},
        wrt=(0, 1),
    ),
]
