"""Cases of the losses between distributions."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import optax
import torch.nn.functional as F

from jaxtrain import losses
from parity._quiet import quietly
from parity.cases.losses._table import EACH, case, normal, reduced, simplex, uniform

BOTH = (0, 1)
ROWS, CLASSES = 200, 6


def log_simplex(seed: int) -> np.ndarray:
    logits = normal(seed, ROWS, CLASSES, scale=2.0).astype(np.float64)
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)


torch_kl_div = quietly(F.kl_div)  # It warns that its mean is over the elements.

# The second set holds target probabilities of 0, where PyTorch's gradient with respect to the target is NaN.
KL = [(log_simplex(0), np.exp(log_simplex(1))), (log_simplex(2), simplex(3, ROWS, CLASSES))]
KL_LOG = [(log_simplex(0), log_simplex(1)), (log_simplex(2), log_simplex(3) - 50)]

KL_DIV = [
    case(
        "kl_div",
        "plain",
        torch_kl_div,
        KL,
        {
            "the other direction": reduced(lambda input, target: jnp.exp(input) * (input - jnp.log(target + 1e-30))),
            "without the entropy": reduced(lambda input, target: -target * input),
        },
        wrt=BOTH,
        reductions=EACH,
    ),
    case(
        "kl_div",
        "plain, batchmean",
        torch_kl_div,
        KL,
        {
            "mean": losses.kl_div,
            "probabilities instead of logarithms": lambda input, target: losses.kl_div(
                jnp.exp(input), target, "batchmean"
            ),
        },
        reduction="batchmean",
        wrt=BOTH,
    ),
    case(
        "kl_div",
        "mean over the elements",
        torch_kl_div,
        KL,
        {"mean over the rows, as optax": lambda *arrays: optax.losses.kl_divergence(*arrays).mean()},
    ),
    case(
        "kl_div",
        "log_target",
        torch_kl_div,
        KL_LOG,
        {
            "target taken for probabilities": reduced(lambda input, target: target * (jnp.log(-target) - input)),
            "unweighted": reduced(lambda input, target: target - input),
        },
        log_target=True,
        wrt=BOTH,
        reductions=EACH,
    ),
    case(
        "kl_div",
        "log_target, batchmean",
        torch_kl_div,
        KL_LOG,
        {"mean": partial(losses.kl_div, log_target=True)},
        reduction="batchmean",
        log_target=True,
        wrt=BOTH,
    ),
]

RATES = uniform(4, ROWS, CLASSES, low=0.25, high=4.0)
COUNTS = np.resize([0.25, 1, 1.5, 2, 5, 40, 1 + 2.0**-10], (ROWS, CLASSES)).astype(np.float32)
POISSON_INPUTS = [(normal(5, ROWS, CLASSES), COUNTS), (np.zeros((ROWS, CLASSES), np.float32), COUNTS)]
POISSON_RATES = [(RATES, COUNTS), (np.resize([0, 1e-8, 0.5, 2], (ROWS, CLASSES)).astype(np.float32), COUNTS)]


def stirling(target):
    return target * jnp.log(target) - target + 0.5 * jnp.log(2 * jnp.pi * target)


POISSON = [
    case(
        "poisson_nll_loss",
        "plain",
        F.poisson_nll_loss,
        POISSON_INPUTS,
        {"input taken for rates": reduced(lambda input, target: input - target * jnp.log(jnp.abs(input) + 1e-8))},
        wrt=BOTH,
        reductions=EACH,
    ),
    case(
        "poisson_nll_loss",
        "full",
        F.poisson_nll_loss,
        POISSON_INPUTS,
        {
            "Stirling below 1, too": lambda input, target: (
                losses.poisson_nll_loss(input, target) + stirling(target).mean()
            ),
            "not full": losses.poisson_nll_loss,
        },
        full=True,
        wrt=BOTH,
    ),
    case(
        "poisson_nll_loss",
        "rates",
        F.poisson_nll_loss,
        POISSON_RATES,
        {
            "epsilon outside the logarithm": reduced(
                lambda input, target: input - target * (jnp.log(jnp.maximum(input, 1e-30)) + 1e-8)
            )
        },
        log_input=False,
        wrt=BOTH,
        reductions=EACH,
    ),
]

MEANS = (normal(6, ROWS, CLASSES), normal(7, ROWS, CLASSES))
SMALL = np.resize([1e-9, 1e-6, 1e-3, 1], (ROWS, CLASSES)).astype(np.float32)
VARIANCES = [(*MEANS, uniform(8, ROWS, CLASSES, low=0.05)), (*MEANS, SMALL)]
ALL = (0, 1, 2)


def clamped_with_gradient(input, target, var):
    var = jnp.maximum(var, 1e-6)
    return 0.5 * (jnp.log(var) + (input - target) ** 2 / var)


GAUSSIAN = [
    case(
        "gaussian_nll_loss",
        "plain",
        F.gaussian_nll_loss,
        VARIANCES,
        {
            "no gradient where clamped": reduced(clamped_with_gradient),
            "epsilon added": reduced(
                lambda input, target, var: 0.5 * (jnp.log(var + 1e-6) + (input - target) ** 2 / (var + 1e-6))
            ),
            "constant added": partial(losses.gaussian_nll_loss, full=True),
        },
        wrt=ALL,
        reductions=EACH,
    ),
    case(
        "gaussian_nll_loss",
        "full",
        F.gaussian_nll_loss,
        VARIANCES[:1],
        {"not full": losses.gaussian_nll_loss},
        full=True,
        wrt=ALL,
    ),
    case(
        "gaussian_nll_loss",
        "variance of each row, of each column",
        F.gaussian_nll_loss,
        [
            (*MEANS, uniform(seed, *shape, low=0.05))
            for shape in ((ROWS,), (ROWS, 1), (1, CLASSES))
            for seed in (9, 10, 11)
        ],
        {"standard deviation": lambda input, target, var: losses.gaussian_nll_loss(input, target, var**2)},
        wrt=ALL,
    ),
    case(
        "gaussian_nll_loss",
        "target of each row, of each column, of all",
        F.gaussian_nll_loss,
        [
            (MEANS[0], normal(seed, *shape), VARIANCES[0][2])
            for shape in ((ROWS, 1), (CLASSES,), ())
            for seed in range(20, 40)
        ],
        {"a larger variance": lambda input, target, var: losses.gaussian_nll_loss(input, target, var + 1e-6)},
        wrt=ALL,
    ),
    case(
        "gaussian_nll_loss",
        "variance of each row of a stack",
        F.gaussian_nll_loss,
        [(normal(k, 4, 3, 3), normal(k + 1, 4, 3, 3), uniform(k + 2, 4, 3, low=0.05)) for k in range(20, 50, 3)],
        {
            "of each column": lambda input, target, var: losses.gaussian_nll_loss(input, target, var[:, None]),
        },
        wrt=ALL,
    ),
]

CASES = [*KL_DIV, *POISSON, *GAUSSIAN]
