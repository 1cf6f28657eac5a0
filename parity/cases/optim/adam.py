"""Cases of `jaxtrain.optim`: Adam and AdamW."""

from functools import partial

import numpy as np
import optax

from jaxtrain import optim
from parity.case import Case, OfTheseInputs
from parity.cases.optim._table import case, halving
from parity.draws import generator
from parity.subjects.optimizer import STEPS, Leaf


def float32_bias_corrections() -> optax.GradientTransformation:
    return optax.adam(1e-3)


def epsilon_in_root() -> optax.GradientTransformation:
    return optax.chain(optax.scale_by_adam(eps=0.0, eps_root=1e-8), optax.scale(-1e-3))


def falling_and_rising() -> Leaf:
    """Gradients of which a mean that is counted from the last one keeps nothing, even in float64."""
    rng = generator(5)
    sizes = np.where(np.arange(STEPS) % 3 == 0, 1e10, 1e-8)[:, None]
    return Leaf(rng.normal(size=8), sizes * rng.choice([-1, 1], (STEPS, 8)) * rng.uniform(1, 2, (STEPS, 8)))


ADAM = [
    case(
        optim.adam,
        defects={
            "bias corrections in float32": OfTheseInputs(float32_bias_corrections),
            "eps in the root": epsilon_in_root,
            "no bias correction": lambda: optax.chain(optax.scale_by_rms(0.999, eps_in_sqrt=False), optax.scale(-1e-3)),
        },
    ),
    case(
        optim.adam,
        0.01,
        (0.8, 0.99999),
        1e-6,
        defects={
            "bias corrections in float32": lambda: optax.adam(0.01, 0.8, 0.99999, 1e-6),
            "betas swapped": partial(optim.adam, 0.01, (0.99999, 0.8), 1e-6),
        },
    ),
    case(
        optim.adam,
        betas=(0.0, 0.0),
        configuration="betas=(0, 0), gradients of 1e10 before those of 1e-8",
        leaves={"vector": falling_and_rising()},
        defects={"a memory of 1e-9": partial(optim.adam, betas=(1e-9, 0.0))},
    ),
    case(
        optim.adam,
        weight_decay=0.1,
        defects={
            "decay decoupled": partial(optim.adamw, weight_decay=0.1),
            "decay after the moments": lambda: optax.chain(
                optax.scale_by_adam(), optax.add_decayed_weights(0.1), optax.scale(-1e-3)
            ),
        },
    ),
    case(
        optim.adam,
        amsgrad=True,
        weight_decay=0.1,
        maximize=True,
        defects={
            "maximum after the bias correction": lambda: optax.chain(
                optax.scale(-1.0), optax.add_decayed_weights(0.1), optax.amsgrad(1e-3)
            ),
            "amsgrad off": partial(optim.adam, weight_decay=0.1, maximize=True),
            "minimizes": partial(optim.adam, amsgrad=True, weight_decay=0.1),
        },
    ),
    case(
        optim.adam,
        halving,
        defects={
            "schedule one step early": partial(optim.adam, lambda count: halving(count + 1)),
            "schedule ignored": partial(optim.adam, 0.01),
        },
    ),
]

ADAMW = [
    case(
        optim.adamw,
        defects={
            "the decay of optax, 1e-4": lambda: optax.adamw(1e-3),
            "decay in the gradient": partial(optim.adam, weight_decay=1e-2),
            "no decay": optim.adam,
        },
    ),
    case(
        optim.adamw,
        0.01,
        weight_decay=0.3,
        amsgrad=True,
        maximize=True,
        defects={
            "decay negated with the gradient": lambda: optax.chain(
                optim.adamw(0.01, weight_decay=0.3, amsgrad=True), optax.scale(-1.0)
            ),
            "amsgrad off": partial(optim.adamw, 0.01, weight_decay=0.3, maximize=True),
        },
    ),
    case(
        optim.adamw,
        halving,
        weight_decay=0.1,
        defects={
            "decay not scheduled": lambda: optax.chain(optim.adam(halving), optax.add_decayed_weights(-0.001)),
        },
    ),
]


CASES: list[Case] = [*ADAM, *ADAMW]
