"""Cases of the losses of pairs and triplets."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import optax
import torch.nn.functional as F

from jaxtrain import losses
from parity.cases.losses._table import EACH, case, normal, reduced
from parity.draws import generator

ROWS, FEATURES = 300, 6
SIGNS = np.where(generator(0).random((ROWS, FEATURES)) < 0.5, -1, 1)
DISTANCES = [
    (np.resize(np.arange(-8, 17) / 8, (ROWS, FEATURES)).astype(np.float32), SIGNS),
    (normal(1, ROWS, FEATURES, scale=1e-6), SIGNS),
    (normal(2, ROWS, FEATURES, scale=1e6), SIGNS),
]

HINGE_EMBEDDING = [
    case(
        "hinge_embedding_loss",
        "defaults",
        F.hinge_embedding_loss,
        DISTANCES,
        {
            "gradient one half at the hinge": reduced(
                lambda input, target: jnp.where(target == 1, input, jnp.maximum(1 - input, 0))
            ),
            "hinge of the product": reduced(lambda input, target: jnp.maximum(0, 1 - input * target)),
        },
        reductions=EACH,
    ),
    case(
        "hinge_embedding_loss",
        "margin 0.5, other targets",
        F.hinge_embedding_loss,
        [(input, SIGNS * (np.arange(ROWS) % 3)[:, None]) for input, _ in DISTANCES],
        {
            "default margin": losses.hinge_embedding_loss,
            "zero for other targets": lambda input, target: jnp.where(
                target == 1, input, jnp.where(target == -1, jnp.maximum(0.5 - input, 0), 0)
            ).mean(),
        },
        margin=0.5,
    ),
]


def cosines(epsilon):
    def each(input1, input2, target):
        norm1, norm2 = (jnp.sqrt(jnp.sum(array**2, -1) + epsilon) for array in (input1, input2))
        cosine = jnp.sum(input1 * input2, -1) / (norm1 * norm2)
        return jnp.where(target == 1, 1 - cosine, jnp.maximum(cosine - 0.25, 0))

    return each


def compared_cosines(input1, input2, target):
    lengths = np.sqrt((np.sum(input1**2, -1) + 1e-12) * (np.sum(input2**2, -1) + 1e-12))
    yield np.sum(input1 * input2, -1) / lengths, np.full(len(target), 0.25)


PAIRS = [
    (normal(3, ROWS, FEATURES), normal(4, ROWS, FEATURES), SIGNS[:, 0]),
    (normal(5, ROWS, FEATURES, scale=1e-7), normal(6, ROWS, FEATURES, scale=1e-7), SIGNS[:, 0]),
    (normal(7, ROWS, FEATURES, scale=1e4), normal(8, ROWS, FEATURES, scale=1e4), SIGNS[:, 0]),
    (np.zeros((ROWS, FEATURES), np.float32), normal(9, ROWS, FEATURES), np.ones(ROWS, int)),
]
ORTHOGONAL = [(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[::-1].copy(), np.array([-1, -1]))]

COSINE_EMBEDDING = [
    case(
        "cosine_embedding_loss",
        "margin 0.25",
        F.cosine_embedding_loss,
        PAIRS,
        {"no margin": losses.cosine_embedding_loss, "epsilon 1e-8": reduced(cosines(1e-8))},
        margin=0.25,
        wrt=(0, 1),
        reductions=EACH,
        compared=compared_cosines,
    ),
    case(
        "cosine_embedding_loss",
        "at the hinge",
        F.cosine_embedding_loss,
        ORTHOGONAL,
        {
            "gradient one half": lambda input1, input2, target: jnp.maximum(
                jnp.sum(input1 * input2, -1) / jnp.sqrt(jnp.sum(input1**2, -1) * jnp.sum(input2**2, -1)), 0
            ).mean()
        },
        wrt=(0, 1),
    ),
]

ANCHOR, POSITIVE, NEGATIVE = (normal(seed, ROWS, FEATURES) for seed in (10, 11, 12))
POSITIVE[:5], NEGATIVE[5:10] = ANCHOR[:5], ANCHOR[5:10]
TRIPLETS = [(ANCHOR, POSITIVE, NEGATIVE), (normal(13, ROWS, FEATURES), NEGATIVE, normal(14, ROWS, FEATURES))]
# Of a low degree a single element has the largest gradient, and its rounding is chance.
MANY_TRIPLETS = TRIPLETS + [tuple(normal(seed + n, ROWS, FEATURES) for n in range(3)) for seed in range(60, 90, 3)]
# Distances 1 and 2 of the margin 1, exactly at the hinge.
AT_HINGE = [(np.zeros((2, 1), np.float32), np.array([[1], [2]], np.float32), np.array([[2], [3.5]], np.float32))]
THREE = (0, 1, 2)


def p_distance(x, y, p=2.0):
    return np.linalg.norm(x - y + 1e-6, p, axis=-1)


def compared_distances(anchor, positive, negative, *, distance=p_distance, margin=1.0, swap=False):
    """The far distance with the near one and the margin; with `swap` the two far ones as well."""
    far = distance(anchor, negative)
    if swap:
        other = distance(positive, negative)
        yield far, other
        far = np.minimum(far, other)
    yield margin + distance(anchor, positive), far


def squared_distance(x, y):
    return ((x - y) ** 2).sum(-1)


def optax_triplet(*arrays, reduction, **options):
    losses = optax.losses.triplet_margin_loss(*arrays, **options)
    return {"mean": losses.mean, "sum": losses.sum, "none": lambda: losses}[reduction]()


TRIPLET = [
    case(
        "triplet_margin_loss",
        "defaults",
        F.triplet_margin_loss,
        TRIPLETS,
        {"as optax": optax_triplet, "other sign of epsilon": partial(losses.triplet_margin_loss, eps=-1e-6)},
        wrt=THREE,
        reductions=EACH,
        compared=compared_distances,
    ),
    *(
        case(
            "triplet_margin_loss",
            f"degree {p}, margin 2",
            F.triplet_margin_loss,
            MANY_TRIPLETS,
            {
                "degree 2.5": partial(losses.triplet_margin_loss, margin=2.0, p=2.5),
                "default margin": partial(losses.triplet_margin_loss, p=p),
            },
            margin=2.0,
            p=p,
            wrt=THREE,
            compared=partial(compared_distances, distance=partial(p_distance, p=p), margin=2.0),
        )
        for p in (0.5, 1, 1.5, 3, float("inf"))
    ),
    case(
        "triplet_margin_loss",
        "swap",
        F.triplet_margin_loss,
        TRIPLETS,
        {"no swap": partial(losses.triplet_margin_loss, margin=2.0)},
        margin=2.0,
        swap=True,
        wrt=THREE,
        compared=partial(compared_distances, margin=2.0, swap=True),
    ),
    case(
        "triplet_margin_loss",
        "distance zero, no epsilon",
        F.triplet_margin_loss,
        TRIPLETS,
        {"default epsilon": losses.triplet_margin_loss},
        eps=0.0,
        wrt=THREE,
        compared=compared_distances,
    ),
    case(
        "triplet_margin_loss",
        "at the hinge",
        F.triplet_margin_loss,
        AT_HINGE,
        {
            "gradient one half": lambda anchor, positive, negative: jnp.maximum(
                1 + jnp.sum(positive - anchor, -1) - jnp.sum(negative - anchor, -1), 0
            ).mean()
        },
        eps=0.0,
        wrt=THREE,
    ),
    case(
        "triplet_margin_with_distance_loss",
        "swap",
        F.triplet_margin_with_distance_loss,
        TRIPLETS,
        {"no swap": partial(losses.triplet_margin_with_distance_loss, margin=2.0)},
        margin=2.0,
        swap=True,
        wrt=THREE,
        compared=partial(compared_distances, margin=2.0, swap=True),
        reductions=EACH,
    ),
    case(
        "triplet_margin_with_distance_loss",
        "your own distance",
        F.triplet_margin_with_distance_loss,
        TRIPLETS,
        {"the default distance": losses.triplet_margin_with_distance_loss},
        distance_function=squared_distance,
        wrt=THREE,
        compared=partial(compared_distances, distance=squared_distance),
    ),
]

CASES = [*HINGE_EMBEDDING, *COSINE_EMBEDDING, *TRIPLET]
