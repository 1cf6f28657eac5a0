"""Cases of `jaxtrain.optim`: optimizers that treat a parameter as a matrix."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from jaxtrain import optim
from parity.case import Case
from parity.cases.optim._table import Factory, case, halving, torch_halving
from parity.kinds.optimizer import STEPS, Leaf, live_leaves


def stacked_leaves() -> dict[str, Leaf]:
    """Beside the usual leaves, a stack of two matrices."""
    rng = np.random.default_rng(1)
    return live_leaves() | {"stack": Leaf(rng.normal(size=(2, 3, 4)), rng.normal(size=(STEPS, 2, 3, 4)))}


def transposed(make: Factory) -> Factory:
    """The optimizer as it acts on transposed matrices."""

    def flip(tree):
        return jax.tree.map(jnp.transpose, tree)

    def factory():
        optimizer = make()

        def update(gradients, state, params):
            updates, state = optimizer.update(flip(gradients), state, flip(params))
            return flip(updates), state

        return optax.GradientTransformation(lambda params: optimizer.init(flip(params)), update)

    return factory


ADAFACTOR = [
    case(
        "adafactor",
        "defaults",
        optim.adafactor,
        lambda p: torch.optim.Adafactor(p),
        leaves=stacked_leaves(),
        defects={
            "optax": lambda: optax.adafactor(1e-2, min_dim_size_to_factor=1),
            "steps not relative to the parameter": partial(optim.adafactor, eps=(None, 1.0)),
            "updates not clipped": partial(optim.adafactor, d=1e9),
            "constant decay of the means": partial(optim.adafactor, beta2_decay=-0.01),
        },
    ),
    case(
        "adafactor",
        "weight decay, maximize, d=1.5, beta2_decay=-1",
        partial(optim.adafactor, 0.1, beta2_decay=-1.0, d=1.5, weight_decay=0.1, maximize=True),
        lambda p: torch.optim.Adafactor(p, 0.1, beta2_decay=-1.0, d=1.5, weight_decay=0.1, maximize=True),
        leaves=stacked_leaves(),
        defects={
            "minimizes": partial(optim.adafactor, 0.1, beta2_decay=-1.0, d=1.5, weight_decay=0.1),
            "decay without the learning rate": lambda: optax.chain(
                optim.adafactor(0.1, -1.0, d=1.5, maximize=True), optax.add_decayed_weights(-0.1)
            ),
            "size of the decayed parameter": lambda: _decaying_first(0.1, 0.1),
        },
    ),
    case(
        "adafactor",
        "eps=(1e-3, 0.1)",
        partial(optim.adafactor, eps=(1e-3, 0.1)),
        lambda p: torch.optim.Adafactor(p, eps=(1e-3, 0.1)),
        defects={
            "floor of the dtype": partial(optim.adafactor, eps=(None, 0.1)),
            "floor not squared": partial(optim.adafactor, eps=(1e-3**0.5, 0.1)),
        },
    ),
    case(
        "adafactor",
        "schedule, transposed matrices",
        transposed(partial(optim.adafactor, halving)),
        lambda p: torch.optim.Adafactor(p, 0.01),
        scheduler=torch_halving,
        states=False,
        defects={"no schedule": transposed(optim.adafactor)},
    ),
    case(
        "adafactor",
        "bfloat16",
        optim.adafactor,
        lambda p: torch.optim.Adafactor(p),
        leaves=stacked_leaves(),
        precision="bfloat16",
        defects={"floor of float32": partial(optim.adafactor, eps=(float(np.finfo(np.float32).eps), 1e-3))},
    ),
]


def _decaying_first(lr: float, weight_decay: float) -> optax.GradientTransformation:
    """Adafactor that measures the parameter after its decay."""
    optimizer = optim.adafactor(lr, -1.0, d=1.5, maximize=True)

    def update(gradients, state, params):
        decayed = jax.tree.map(lambda p: p * (1 - lr * weight_decay), params)
        updates, state = optimizer.update(gradients, state, decayed)
        return jax.tree.map(lambda u, p: u - lr * weight_decay * p, updates, params), state

    return optax.GradientTransformation(optimizer.init, update)


CASES: list[Case] = [*ADAFACTOR]
