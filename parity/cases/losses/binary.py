"""Cases of the binary cross-entropies."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch.nn.functional as F

from jaxtrain import losses
from parity.cases.losses._table import EACH, case, normal, reduced, uniform
from parity.draws import generator

SHAPE = (60, 25)
BOTH = (0, 1)
HARD = (generator(0).random(SHAPE) < 0.3).astype(np.float32)
SOFT = uniform(1, *SHAPE)
WEIGHT = uniform(2, 60, 1, high=3.0)
POS_WEIGHT = uniform(3, 25, low=0.2, high=5.0)

# Dyadic, because 1 - p of a probability that float64 knows better than float32 is another problem.
PROBABILITIES = [
    (uniform(4, *SHAPE, low=0.01, high=0.99), HARD),
    (uniform(5, *SHAPE, low=0.01, high=0.99), SOFT),
    (np.resize([0.5, 0.25, 2.0**-20, 1 - 2.0**-20], SHAPE).astype(np.float32), SOFT),
]
ENDS = [(np.resize([0, 1, 0, 1, 1e-20], SHAPE).astype(np.float32), HARD)]
LOGITS = [
    (normal(6, *SHAPE, scale=3.0), HARD),
    (normal(7, *SHAPE, scale=3.0), SOFT),
    (normal(8, *SHAPE, scale=1e-6), SOFT),
    (normal(9, *SHAPE, scale=1e4), SOFT),
    (np.zeros(SHAPE, np.float32), SOFT),
]


def clamped_logarithms(input, target):
    return -target * jnp.maximum(jnp.log(input), -100) - (1 - target) * jnp.maximum(jnp.log1p(-input), -100)


def clipped_probabilities(input, target):
    input = jnp.clip(input, 1e-7, 1 - 1e-7)
    return -target * jnp.log(input) - (1 - target) * jnp.log1p(-input)


def epsilon_in_logarithms(input, target):
    return -target * jnp.log(input + 1e-12) - (1 - target) * jnp.log(1 - input + 1e-12)


def positive_weight_on_both(input, target, pos_weight):
    return pos_weight * optax.sigmoid_binary_cross_entropy(input, target)


def naive_sigmoid(input, target):
    probability = jax.nn.sigmoid(input)
    return -target * jnp.log(probability) - (1 - target) * jnp.log(1 - probability)


def torch_with_pos_weight(input, target, pos_weight, reduction="mean"):
    return F.binary_cross_entropy_with_logits(input, target, None, reduction=reduction, pos_weight=pos_weight)


def with_pos_weight(input, target, pos_weight, reduction="mean"):
    return losses.binary_cross_entropy_with_logits(input, target, None, reduction, pos_weight)


def weight_ignored(loss):
    return lambda input, target, weight, reduction: loss(input, target, reduction=reduction)


def weight_in_the_mean(loss):
    return lambda input, target, weight: (
        loss(input, target, weight, reduction="sum") / jnp.sum(jnp.broadcast_to(weight, input.shape))
    )


OF_PROBABILITIES = [
    case(
        "binary_cross_entropy",
        "plain",
        F.binary_cross_entropy,
        PROBABILITIES,
        {
            "epsilon in the logarithms": reduced(epsilon_in_logarithms),
            "only the positive part": reduced(lambda input, target: -target * jnp.log(input)),
        },
        wrt=BOTH,
        reductions=EACH,
    ),
    case(
        "binary_cross_entropy",
        "probabilities 0 and 1",
        F.binary_cross_entropy,
        ENDS,
        {
            "gradient of the clamped logarithms": reduced(clamped_logarithms),
            "clipped probabilities": reduced(clipped_probabilities),
        },
        reductions=EACH,
    ),
    case(
        "binary_cross_entropy",
        "weighted",
        F.binary_cross_entropy,
        [(*arrays, WEIGHT) for arrays in PROBABILITIES],
        {"weight ignored": weight_ignored(losses.binary_cross_entropy)},
        reductions=EACH,
    ),
    case(
        "binary_cross_entropy",
        "weighted mean over the count",
        F.binary_cross_entropy,
        [(*arrays, WEIGHT) for arrays in PROBABILITIES],
        {"mean over the weight": weight_in_the_mean(losses.binary_cross_entropy)},
        wrt=BOTH,
    ),
    case(
        "binary_cross_entropy",
        "scalars",
        F.binary_cross_entropy,
        [(np.float32(p), np.float32(y)) for p, y in ((0.5, 1), (0.25, 0), (0.75, 0.5), (0.0, 1), (1.0, 1))],
        {"logits expected": losses.binary_cross_entropy_with_logits},
    ),
]

OF_LOGITS = [
    case(
        "binary_cross_entropy_with_logits",
        "plain",
        F.binary_cross_entropy_with_logits,
        LOGITS,
        {
            "logarithms of the sigmoid": reduced(naive_sigmoid),
            "probabilities expected": lambda input, target, reduction: losses.binary_cross_entropy(
                jnp.clip(input, 0, 1), target, reduction=reduction
            ),
        },
        wrt=BOTH,
        reductions=EACH,
    ),
    case(
        "binary_cross_entropy_with_logits",
        "pos_weight",
        torch_with_pos_weight,
        [(*arrays, POS_WEIGHT) for arrays in LOGITS],
        {
            "on both parts": reduced(positive_weight_on_both),
            "ignored": weight_ignored(losses.binary_cross_entropy_with_logits),
            "taken for weight": losses.binary_cross_entropy_with_logits,
        },
        ours=with_pos_weight,
        wrt=BOTH,
        reductions=EACH,
    ),
    case(
        "binary_cross_entropy_with_logits",
        "weighted",
        F.binary_cross_entropy_with_logits,
        [(*arrays, WEIGHT) for arrays in LOGITS],
        {"weight ignored": weight_ignored(losses.binary_cross_entropy_with_logits)},
        wrt=BOTH,
        reductions=EACH,
    ),
    case(
        "binary_cross_entropy_with_logits",
        "weight and pos_weight",
        lambda input, target, weight, pos_weight: F.binary_cross_entropy_with_logits(
            input, target, weight, pos_weight=pos_weight
        ),
        [(*arrays, WEIGHT, POS_WEIGHT) for arrays in LOGITS],
        {
            "mean over the weight": lambda input, target, weight, pos_weight: (
                losses.binary_cross_entropy_with_logits(input, target, weight, "sum", pos_weight) / (25 * weight.sum())
            ),
            "pos_weight ignored": lambda input, target, weight, _: losses.binary_cross_entropy_with_logits(
                input, target, weight
            ),
        },
        ours=lambda input, target, weight, pos_weight: losses.binary_cross_entropy_with_logits(
            input, target, weight, pos_weight=pos_weight
        ),
    ),
    case(
        "binary_cross_entropy_with_logits",
        "scalars",
        F.binary_cross_entropy_with_logits,
        [(np.float32(x), np.float32(y)) for x, y in ((0, 1), (-3, 0), (0.5, 0.25), (100, 0), (1e-6, 1))],
        {"half": lambda *pair: 0.5 * losses.binary_cross_entropy_with_logits(*pair)},
        wrt=BOTH,
    ),
]

CASES = [*OF_PROBABILITIES, *OF_LOGITS]
