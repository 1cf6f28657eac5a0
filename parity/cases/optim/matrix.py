"""Cases of `jaxtrain.optim`: Muon and Adafactor, which treat a parameter as a matrix."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxtrain import optim
from parity.case import Case
from parity.cases.optim._table import Factory, case, halving, special_case, torch_halving
from parity.draws import generator
from parity.references.muon import TorchMuon, matrices, muon
from parity.subjects.optimizer import STEPS, Leaf, live_leaves


def stacked_leaves() -> dict[str, Leaf]:
    """Beside the usual leaves, a stack of two matrices."""
    rng = generator(1)
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
        optim.adafactor,
        leaves=stacked_leaves(),
        defects={
            "optax": lambda: optax.adafactor(1e-2, min_dim_size_to_factor=1),
            "steps not relative to the parameter": partial(optim.adafactor, eps=(None, 1.0)),
            "updates not clipped": partial(optim.adafactor, d=1e9),
            "constant decay of the means": partial(optim.adafactor, beta2_decay=-0.01),
        },
    ),
    case(
        optim.adafactor,
        0.1,
        beta2_decay=-1.0,
        d=1.5,
        weight_decay=0.1,
        maximize=True,
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
        optim.adafactor,
        eps=(1e-3, 0.1),
        defects={
            "floor of the dtype": partial(optim.adafactor, eps=(None, 0.1)),
            "floor not squared": partial(optim.adafactor, eps=(1e-3**0.5, 0.1)),
        },
    ),
    case(
        optim.adafactor,
        halving,
        eps=(1e-12, 1e-3),
        wrapped=transposed,
        configuration="schedule, transposed matrices",
        states=False,
        defects={"no schedule": transposed(partial(optim.adafactor, eps=(1e-12, 1e-3)))},
    ),
    case(
        optim.adafactor,
        leaves=stacked_leaves(),
        precision="bfloat16",
        defects={"floor of float32": partial(optim.adafactor, eps=(float(np.finfo(np.float32).eps), 1e-3))},
    ),
]


def muon_case(configuration: str, ours: Factory, reference: Callable, **options) -> Case:
    return special_case(
        "muon",
        configuration,
        ours,
        reference,
        leaves=matrices(),
        **options,
    )


MUON = [
    muon_case(
        "defaults",
        transposed(muon),
        lambda p: TorchMuon(p),
        states=False,
        defects={
            "optax": lambda: optax.contrib.muon(1e-3, weight_decay=0.1),
            "outputs taken for inputs": transposed(partial(muon, axis=0)),
            "one iteration less": transposed(partial(muon, ns_steps=4)),
        },
    ),
    muon_case(
        "PyTorch's layout, momentum=0.8, ns_steps=6",
        partial(muon, axis=0, lr=0.02, momentum=0.8, ns_steps=6),
        lambda p: TorchMuon(p, 0.02, momentum=0.8, ns_steps=6),
        defects={
            "decay with the shape's factor": partial(
                muon, axis=0, lr=0.02, momentum=0.8, ns_steps=6, weight_decay=0.15
            ),
            "no decay": partial(muon, axis=0, lr=0.02, momentum=0.8, ns_steps=6, weight_decay=0.0),
            "no look ahead": partial(muon, axis=0, lr=0.02, momentum=0.8, ns_steps=6, nesterov=False),
        },
    ),
    muon_case(
        "match_rms_adamw, no nesterov, ns_coefficients",
        partial(muon, adjust_lr_fn="match_rms_adamw", nesterov=False, ns_coefficients=(3.4, -4.7, 2.0)),
        lambda p: TorchMuon(p, adjust_lr_fn="match_rms_adamw", nesterov=False, ns_coefficients=(3.4, -4.7, 2.0)),
        defects={
            "the original factor": partial(muon, nesterov=False, ns_coefficients=(3.4, -4.7, 2.0)),
            "the coefficients of before": partial(muon, adjust_lr_fn="match_rms_adamw", nesterov=False),
        },
    ),
    muon_case(
        "schedule, bfloat16",
        partial(muon, axis=0, lr=lambda count: 50 * halving(count)),
        lambda p: TorchMuon(p, 0.5),
        scheduler=torch_halving,
        precision="bfloat16",
        defects={
            "decay not scheduled": lambda: _decaying_by(
                0.05, muon(axis=0, lr=lambda count: 50 * halving(count), weight_decay=0.0)
            )
        },
    ),
]


def _decaying_by(rate: float, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    return optax.chain(optimizer, optax.add_decayed_weights(-rate))


def _decaying_first(lr: float, weight_decay: float) -> optax.GradientTransformation:
    """Adafactor that measures the parameter after its decay."""
    optimizer = optim.adafactor(lr, -1.0, d=1.5, maximize=True)

    def update(gradients, state, params):
        decayed = jax.tree.map(lambda p: p * (1 - lr * weight_decay), params)
        updates, state = optimizer.update(gradients, state, decayed)
        return jax.tree.map(lambda u, p: u - lr * weight_decay * p, updates, params), state

    return optax.GradientTransformation(optimizer.init, update)


CASES: list[Case] = [*ADAFACTOR, *MUON]
