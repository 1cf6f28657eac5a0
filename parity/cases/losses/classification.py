"""Cases of cross-entropy and negative log-likelihood."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch.nn.functional as F

from jaxtrain import losses
from parity.cases.losses._table import EACH, case, normal, simplex, uniform
from parity.draws import generator

ROWS, CLASSES = 300, 5
WEIGHT = uniform(0, CLASSES, low=0.2, high=3.0)
LABELS = generator(1).integers(0, CLASSES, ROWS)
SOME_IGNORED = np.where(np.arange(ROWS) % 7 == 3, -100, LABELS)
ALL_IGNORED = np.full(ROWS, -100)

LOGITS = {
    "ordinary": normal(2, ROWS, CLASSES, scale=2.0),
    "tiny": normal(3, ROWS, CLASSES, scale=1e-6),
    "huge": normal(4, ROWS, CLASSES, scale=1e4),
    "equal": np.full((ROWS, CLASSES), 3.0, np.float32),
}
BY_CLASS = [(logits, SOME_IGNORED) for logits in LOGITS.values()]
BY_LOG_PROBABILITY = [(-abs(logits), SOME_IGNORED) for logits in LOGITS.values()]
BY_WEIGHT = [(*arrays, WEIGHT) for arrays in BY_CLASS]
BY_PROBABILITY = [(logits, simplex(5, ROWS, CLASSES)) for logits in LOGITS.values()]
IMAGES = [(normal(6, 4, CLASSES, 6, 5), generator(7).integers(0, CLASSES, (4, 6, 5)))]
SOFT_IMAGES = [(images, np.moveaxis(simplex(8, 4, 6, 5, CLASSES), -1, 1)) for images, _ in IMAGES]
UNBATCHED = [(normal(9, CLASSES), np.int64(3)), (normal(10, CLASSES, scale=1e4), np.int64(0))]


def without_weight(loss):
    return lambda input, target, _, **options: loss(input, target, **options)


def ignored_in_the_mean(loss):
    return lambda *arrays: loss(*arrays, reduction="sum") / arrays[1].size


def naively_smoothed(input, target, weight, label_smoothing):
    """Smooth the labels, then weigh each class and divide by the weights of the labels."""
    smooth = optax.smooth_labels(jax.nn.one_hot(target, CLASSES), label_smoothing)
    each = -jnp.sum(weight * smooth * jax.nn.log_softmax(input), -1)
    known = target >= 0
    return jnp.sum(each * known) / jnp.sum(weight[target] * known) * jnp.sum(known) / target.size


OF_CLASSES = [
    case(
        "cross_entropy",
        "classes",
        F.cross_entropy,
        BY_CLASS,
        {
            "label smoothing on": partial(losses.cross_entropy, label_smoothing=1e-3),
            "another row of classes ignored": lambda input, target, reduction: losses.cross_entropy(
                input, jnp.where(target == 0, -100, target), reduction=reduction
            ),
        },
        reductions=EACH,
    ),
    case(
        "cross_entropy",
        "classes, mean over what is not ignored",
        F.cross_entropy,
        BY_CLASS,
        {
            "ignored rows in the mean": ignored_in_the_mean(losses.cross_entropy),
            "ignored rows clamped to class 0": lambda input, target: losses.cross_entropy(
                input, jnp.maximum(target, 0)
            ),
            "no softmax": losses.nll_loss,
        },
    ),
    case(
        "cross_entropy",
        "everything ignored",
        F.cross_entropy,
        [(LOGITS["ordinary"], ALL_IGNORED), (LOGITS["ordinary"], SOME_IGNORED)],
        {
            "zero instead of NaN": lambda input, target: (
                losses.cross_entropy(input, target, reduction="sum") / jnp.maximum(jnp.sum(target >= 0), 1)
            ),
            "as optax": lambda *arrays: optax.softmax_cross_entropy_with_integer_labels(*arrays).mean(),
        },
    ),
    case(
        "cross_entropy",
        "total weight zero",
        lambda input, target: F.cross_entropy(input, target, input.new_tensor(np.arange(CLASSES) > 0)),
        [(LOGITS["ordinary"], np.zeros(ROWS, int)), (LOGITS["ordinary"], LABELS)],
        {"unweighted": losses.cross_entropy},
        ours=lambda input, target: losses.cross_entropy(input, target, (jnp.arange(CLASSES) > 0).astype(input.dtype)),
    ),
    case(
        "cross_entropy",
        "classes, weighted",
        F.cross_entropy,
        BY_WEIGHT,
        {"weight ignored": without_weight(losses.cross_entropy)},
        reductions=EACH,
    ),
    case(
        "cross_entropy",
        "classes, mean over the weight",
        F.cross_entropy,
        BY_WEIGHT,
        {
            "mean over the count": lambda input, target, weight: (
                losses.cross_entropy(input, target, weight, reduction="sum") / jnp.sum(target >= 0)
            ),
            "ignored rows in the mean": lambda input, target, weight: (
                losses.cross_entropy(input, target, weight, reduction="sum") / weight[target].sum()
            ),
        },
    ),
    case(
        "cross_entropy",
        "classes, smoothed",
        F.cross_entropy,
        BY_CLASS,
        {
            "label smoothing off": losses.cross_entropy,
            "smoothed over the other classes only": partial(losses.cross_entropy, label_smoothing=0.125),
        },
        label_smoothing=0.1,
        reductions=EACH,
    ),
    case(
        "cross_entropy",
        "classes, weighted and smoothed",
        F.cross_entropy,
        BY_WEIGHT,
        {
            "label smoothing off": losses.cross_entropy,
            "smooth part unweighted": lambda input, target, weight, reduction: (
                0.7 * losses.cross_entropy(input, target, weight, reduction=reduction)
                + 0.3 * losses.cross_entropy(input, target, label_smoothing=1.0, reduction=reduction)
            ),
        },
        label_smoothing=0.3,
        reductions=EACH,
    ),
    case(
        "cross_entropy",
        "classes, weighted and smoothed mean",
        F.cross_entropy,
        BY_WEIGHT,
        {"smooth labels times weights": partial(naively_smoothed, label_smoothing=0.3)},
        label_smoothing=0.3,
    ),
    case(
        "cross_entropy",
        "all smooth",
        F.cross_entropy,
        [BY_CLASS[0], BY_CLASS[2]],
        {"label smoothing off": losses.cross_entropy},
        label_smoothing=1.0,
    ),
    case(
        "cross_entropy",
        "images, class 2 ignored",
        F.cross_entropy,
        IMAGES,
        {
            "nothing ignored": partial(losses.cross_entropy, label_smoothing=0.1, axis=1),
            "softmax over the width": lambda input, target, reduction: losses.nll_loss(
                jax.nn.log_softmax(input, -1), target, ignore_index=2, reduction=reduction, axis=1
            ),
        },
        ours=partial(losses.cross_entropy, axis=1),
        ignore_index=2,
        label_smoothing=0.1,
        reductions=EACH,
    ),
    case(
        "cross_entropy",
        "unbatched",
        F.cross_entropy,
        UNBATCHED,
        {
            "previous class": lambda input, target, reduction: losses.cross_entropy(
                input, target - 1, reduction=reduction
            )
        },
        reductions=("mean", "none"),
    ),
]

OF_PROBABILITIES = [
    case(
        "cross_entropy",
        "probabilities",
        F.cross_entropy,
        BY_PROBABILITY,
        {
            "the likeliest class": lambda input, target, reduction: losses.cross_entropy(
                input, jnp.argmax(target, -1), reduction=reduction
            ),
            "entropy subtracted": lambda input, target, reduction: (
                losses.kl_div(jax.nn.log_softmax(input), target, reduction="sum")
                + jnp.zeros(() if reduction != "none" else ROWS, input.dtype)
            ),
        },
        wrt=(0, 1),
        reductions=EACH,
    ),
    case(
        "cross_entropy",
        "probabilities, mean over the rows",
        F.cross_entropy,
        BY_PROBABILITY,
        {"mean over the elements": lambda *arrays: losses.cross_entropy(*arrays) / CLASSES},
    ),
    case(
        "cross_entropy",
        "probabilities, weighted and smoothed",
        F.cross_entropy,
        [(*arrays, WEIGHT) for arrays in BY_PROBABILITY],
        {
            "label smoothing off": losses.cross_entropy,
            "weight ignored": lambda input, target, weight, reduction: losses.cross_entropy(
                input, target, label_smoothing=0.2, reduction=reduction
            ),
        },
        label_smoothing=0.2,
        wrt=(0, 1, 2),
        reductions=EACH,
    ),
    case(
        "cross_entropy",
        "probabilities, weighted mean over the rows",
        F.cross_entropy,
        [(*arrays, WEIGHT) for arrays in BY_PROBABILITY],
        {
            "mean over the weight": lambda input, target, weight: (
                losses.cross_entropy(input, target, weight, reduction="sum") / jnp.sum(weight * target)
            )
        },
        wrt=(0, 1, 2),
    ),
    case(
        "cross_entropy",
        "probabilities of images",
        F.cross_entropy,
        SOFT_IMAGES,
        {
            "divided by the batch twice": lambda *arrays, reduction: (
                losses.cross_entropy(*arrays, reduction=reduction, axis=1) / len(arrays[0])
            ),
        },
        ours=partial(losses.cross_entropy, axis=1),
        reductions=EACH,
    ),
]

NLL = [
    case(
        "nll_loss",
        "plain",
        F.nll_loss,
        BY_LOG_PROBABILITY,
        {
            "normalized again": losses.cross_entropy,
            "sign": lambda *arrays, reduction: -losses.nll_loss(*arrays, reduction=reduction),
        },
        reductions=EACH,
    ),
    case(
        "nll_loss",
        "mean over what is not ignored",
        F.nll_loss,
        BY_LOG_PROBABILITY,
        {"ignored rows in the mean": ignored_in_the_mean(losses.nll_loss)},
    ),
    case(
        "nll_loss",
        "log-probabilities",
        F.nll_loss,
        [(np.log(simplex(11, ROWS, CLASSES) + np.float32(1e-3)), LABELS)],
        {"normalized again, with the gradient of a softmax": losses.cross_entropy},
    ),
    case(
        "nll_loss",
        "a class that cannot be",
        F.nll_loss,
        [(np.where(np.arange(CLASSES) == LABELS[:, None], -np.inf, LOGITS["ordinary"]), LABELS)],
        {
            "zero instead of infinity": lambda input, target, reduction: losses.nll_loss(
                jnp.where(jnp.isinf(input), 0, input), target, reduction=reduction
            )
        },
        reductions=("mean", "none"),
    ),
    case(
        "nll_loss",
        "weighted",
        F.nll_loss,
        [(*arrays, WEIGHT) for arrays in BY_LOG_PROBABILITY],
        {"weight ignored": without_weight(losses.nll_loss)},
        reductions=EACH,
    ),
    case(
        "nll_loss",
        "images, class 2 ignored",
        F.nll_loss,
        IMAGES,
        {"nothing ignored": partial(losses.nll_loss, axis=1)},
        ours=partial(losses.nll_loss, axis=1),
        ignore_index=2,
        reductions=EACH,
    ),
    case(
        "nll_loss",
        "unbatched",
        F.nll_loss,
        UNBATCHED,
        {"previous class": lambda input, target: losses.nll_loss(input, target - 1)},
    ),
]

CASES = [*OF_CLASSES, *OF_PROBABILITIES, *NLL]
