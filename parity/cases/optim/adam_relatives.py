"""Cases of `jaxtrain.optim`: relatives of Adam."""

from functools import partial

import optax

from jaxtrain import optim
from parity.case import Case
from parity.cases.optim._table import case, halving

ADAMAX = [
    case(
        optim.adamax,
        defects={
            "the maximum does not decay": partial(optim.adamax, betas=(0.9, 1 - 1e-9)),
            "no bias correction": lambda: _without_bias_correction(),
            "Adam": partial(optim.adam, 2e-3),
        },
    ),
    case(
        optim.adamax,
        0.01,
        (0.8, 0.99),
        1e-3,
        weight_decay=0.1,
        maximize=True,
        defects={
            "betas swapped": partial(optim.adamax, 0.01, (0.99, 0.8), 1e-3, weight_decay=0.1, maximize=True),
            "minimizes": partial(optim.adamax, 0.01, (0.8, 0.99), 1e-3, weight_decay=0.1),
            "decay negated with the gradient": lambda: optax.chain(
                optim.adamax(0.01, (0.8, 0.99), 1e-3, weight_decay=0.1), optax.scale(-1.0)
            ),
        },
    ),
]

NADAM = [
    case(
        optim.nadam,
        defects={
            "optax": lambda: optax.nadam(2e-3),
            "no look ahead": partial(optim.adam, 2e-3),
            "momentum one step ahead": lambda: _with_step_shifted(optim.nadam()),
        },
    ),
    case(
        optim.nadam,
        weight_decay=0.1,
        momentum_decay=6e-3,
        maximize=True,
        defects={
            "decay decoupled": partial(
                optim.nadam, weight_decay=0.1, momentum_decay=6e-3, decoupled_weight_decay=True, maximize=True
            ),
            "the momentum_decay of before": partial(optim.nadam, weight_decay=0.1, maximize=True),
        },
        amplifies=True,  # Where the gradient is little but weight decay, a parameter swings about zero.
    ),
    case(
        optim.nadam,
        0.01,
        (0.8, 0.99),
        1e-6,
        weight_decay=0.1,
        decoupled_weight_decay=True,
        defects={
            "decay in the gradient": partial(optim.nadam, 0.01, (0.8, 0.99), 1e-6, weight_decay=0.1),
            "decay without the learning rate": lambda: optax.chain(
                optim.nadam(0.01, (0.8, 0.99), 1e-6), optax.add_decayed_weights(-0.1)
            ),
        },
    ),
    case(
        optim.nadam,
        halving,
        defects={"schedule one step early": partial(optim.nadam, lambda count: halving(count + 1))},
    ),
]

# The next float: its length grows to 5 + 2e-15, and rounds to 5 in one of the steps before.
TWO_THIRDS = 0.6666666666666667

RADAM = [
    case(
        optim.radam,
        defects={
            "optax": lambda: optax.radam(1e-3),
            "always rectified": optim.adam,
            "rectifies one step early": lambda: _with_step_shifted(optim.radam()),
        },
    ),
    case(
        optim.radam,
        eps=1e-6,
        weight_decay=0.1,
        maximize=True,
        defects={
            "decay decoupled": partial(
                optim.radam, eps=1e-6, weight_decay=0.1, decoupled_weight_decay=True, maximize=True
            ),
            "the eps of before": partial(optim.radam, weight_decay=0.1, maximize=True),
        },
    ),
    case(
        optim.radam,
        0.01,
        (0.8, 0.6),
        weight_decay=0.1,
        decoupled_weight_decay=True,
        defects={
            "decay in the gradient": partial(optim.radam, 0.01, (0.8, 0.6), weight_decay=0.1),
            "rectified where that never sets in": partial(optim.adamw, 0.01, (0.8, 0.6), weight_decay=0.1),
        },
    ),
    case(
        optim.radam,
        betas=(0.9, 0.95),
        defects={"optax": lambda: optax.radam(1e-3, 0.9, 0.95)},
    ),
    case(
        optim.radam,
        betas=(0.9, TWO_THIRDS),
        configuration="a length of 5 in one step, where it must be more",
        states=False,
        defects={"always rectified": partial(optim.adam, betas=(0.9, TWO_THIRDS))},
    ),
]


def _with_step_shifted(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The optimizer as if each parameter had taken one step more."""

    def init(params):
        state = optimizer.init(params)
        return state._replace(step=state.step + 1)

    return optax.GradientTransformation(init, optimizer.update)


def _without_bias_correction() -> optax.GradientTransformation:
    """Adamax after so many steps that its correction is one."""

    def init(params):
        state = optim.adamax().init(params)
        return state._replace(step=state.step + 10_000)

    return optax.GradientTransformation(init, optim.adamax().update)


CASES: list[Case] = [*ADAMAX, *NADAM, *RADAM]
