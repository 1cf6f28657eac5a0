"""Cases of the losses between distributions."""

import warnings
from functools import partial

import jax.numpy as jnp
import numpy as np
import optax
import torch.nn.functional as F

from jaxtrain import losses
from parity.cases.losses._table import by_reduction, case, normal, reduced, simplex

BOTH = (0, 1)
ROWS, CLASSES = 200, 6


def log_simplex(seed: int) -> np.ndarray:
    logits = normal(seed, ROWS, CLASSES, scale=2.0).astype(np.float64)
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)


def torch_kl_div(*arrays, reduction="mean", log_target=False):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return F.kl_div(*arrays, reduction=reduction, log_target=log_target)


# The second set holds target probabilities of 0, where PyTorch's gradient with respect to the target is NaN.
KL = [(log_simplex(0), np.exp(log_simplex(1))), (log_simplex(2), simplex(3, ROWS, CLASSES))]
KL_LOG = [(log_simplex(0), log_simplex(1)), (log_simplex(2), log_simplex(3) - 50)]

KL_DIV = [
    *by_reduction(
        "kl_div",
        "plain",
        torch_kl_div,
        KL,
        {
            "the other direction": reduced(lambda input, target: jnp.exp(input) * (input - jnp.log(target + 1e-30))),
            "without the entropy": reduced(lambda input, target: -target * input),
        },
        wrt=BOTH,
    ),
    case(
        "kl_div",
        "plain, batchmean",
        partial(torch_kl_div, reduction="batchmean"),
        KL,
        {
            "mean": losses.kl_div,
            "probabilities instead of logarithms": lambda input, target: losses.kl_div(
                jnp.exp(input), target, "batchmean"
            ),
        },
        ours=partial(losses.kl_div, reduction="batchmean"),
        wrt=BOTH,
    ),
    case(
        "kl_div",
        "mean over the elements",
        torch_kl_div,
        KL,
        {"mean over the rows, as optax": lambda *arrays: optax.losses.kl_divergence(*arrays).mean()},
    ),
    *by_reduction(
        "kl_div",
        "log_target",
        partial(torch_kl_div, log_target=True),
        KL_LOG,
        {
            "target taken for probabilities": reduced(lambda input, target: target * (jnp.log(-target) - input)),
            "unweighted": reduced(lambda input, target: target - input),
        },
        ours=partial(losses.kl_div, log_target=True),
        wrt=BOTH,
    ),
    case(
        "kl_div",
        "log_target, batchmean",
        partial(torch_kl_div, reduction="batchmean", log_target=True),
        KL_LOG,
        {"mean": partial(losses.kl_div, log_target=True)},
        ours=partial(losses.kl_div, reduction="batchmean", log_target=True),
        wrt=BOTH,
    ),
]

CASES = [*KL_DIV]
