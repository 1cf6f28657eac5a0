"""Cases of `jaxtrain.optim`: stochastic gradient descent."""

from functools import partial

import jax.numpy as jnp
import optax

from jaxtrain import optim
from parity.case import Case
from parity.cases.optim._table import Factory, case, decoupled_instead_of_l2, halving


def without_parameters(make: Factory) -> Factory:
    """The optimizer when its caller does not pass the parameters."""

    def factory() -> optax.GradientTransformation:
        optimizer = make()
        return optax.GradientTransformation(
            optimizer.init, lambda gradients, state, params=None: optimizer.update(gradients, state)
        )

    return factory


SGD = [
    case(
        optim.sgd,
        defects={
            "ascends": partial(optim.sgd, maximize=True),
            "lr of the previous default": partial(optim.sgd, 1e-2),
        },
    ),
    case(
        optim.sgd,
        0.01,
        momentum=0.9,
        defects={
            "no momentum": partial(optim.sgd, 0.01),
            "averages instead of sums": lambda: optax.chain(optax.ema(0.9, debias=False), optax.scale(-0.01)),
            "nesterov on": partial(optim.sgd, 0.01, momentum=0.9, nesterov=True),
        },
    ),
    case(
        optim.sgd,
        0.01,
        momentum=0.9,
        wrapped=without_parameters,
        configuration="momentum, without the parameters",
        defects={"no momentum": without_parameters(partial(optim.sgd, 0.01))},
    ),
    case(
        optim.sgd,
        0.01,
        momentum=0.9,
        dampening=0.5,
        weight_decay=0.1,
        defects={
            "no dampening": partial(optim.sgd, 0.01, momentum=0.9, weight_decay=0.1),
            "first step dampened": lambda: optax.chain(
                optax.add_decayed_weights(0.1), optax.scale(0.5), optax.trace(0.9), optax.scale(-0.01)
            ),
            "decay decoupled": decoupled_instead_of_l2(
                partial(optim.sgd, 0.01, momentum=0.9, dampening=0.5), 0.1, 0.01
            ),
        },
    ),
    case(
        optim.sgd,
        0.01,
        momentum=0.9,
        weight_decay=0.1,
        nesterov=True,
        maximize=True,
        defects={
            "nesterov off": partial(optim.sgd, 0.01, momentum=0.9, weight_decay=0.1, maximize=True),
            "decay negated with the gradient": lambda: optax.chain(
                optax.add_decayed_weights(0.1), optax.sgd(-0.01, momentum=0.9, nesterov=True)
            ),
        },
    ),
    case(
        optim.sgd,
        halving,
        momentum=0.9,
        defects={
            "schedule one step late": partial(
                optim.sgd, lambda count: halving(jnp.maximum(count - 1, 0)), momentum=0.9
            ),
            "schedule one step early": partial(optim.sgd, lambda count: halving(count + 1), momentum=0.9),
            "lr before the momentum": lambda: optax.chain(optax.scale_by_learning_rate(halving), optax.trace(0.9)),
        },
    ),
]

ASGD = [
    case(
        optim.asgd,
        defects={
            "no decay": partial(optim.sgd, 1e-2),
            "constant learning rate": partial(optim.asgd, alpha=0.0),
            "averages at once": partial(optim.asgd, t0=0.0),
        },
    ),
    case(
        optim.asgd,
        0.02,
        lambd=0.1,
        alpha=0.6,
        t0=100.0,
        weight_decay=0.1,
        maximize=True,
        defects={
            "averages one step late": partial(
                optim.asgd, 0.02, lambd=0.1, alpha=0.6, t0=101.0, weight_decay=0.1, maximize=True
            ),
            "minimizes": partial(optim.asgd, 0.02, lambd=0.1, alpha=0.6, t0=100.0, weight_decay=0.1),
            "the alpha of before": partial(optim.asgd, 0.02, lambd=0.1, t0=100.0, weight_decay=0.1, maximize=True),
            "weight decay without the learning rate's decay": decoupled_instead_of_l2(
                partial(optim.asgd, 0.02, lambd=0.1, alpha=0.6, t0=100.0, maximize=True), 0.1, 0.02
            ),
        },
    ),
    case(
        optim.asgd,
        halving,
        t0=50.0,
        defects={
            "the schedule acts at once": partial(optim.asgd, lambda count: halving(count + 1), t0=50.0),
        },
    ),
    case(
        optim.asgd,
        t0=100.0,
        precision="bfloat16",
        defects={"averages from a later step": partial(optim.asgd, t0=150.0)},
    ),
]


CASES: list[Case] = [*SGD, *ASGD]
