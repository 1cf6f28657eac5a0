"""Cases of `jaxtrain.train`: the statistics of batch norms."""

import jax.numpy as jnp

from jaxtrain import train
from parity.case import Case
from parity.subjects.averaging import UpdateBnCase


def see_all(loader, model):
    """What a training loop does to the statistics."""
    for batch in loader:
        model(batch)


CASES: list[Case] = [
    UpdateBnCase(
        component="train.update_bn",
        ours=train.update_bn,
        defects={
            "keeps the momentum": see_all,
            "sees the first batch twice": lambda loader, model: train.update_bn([*loader[:1], *loader], model),
            "sees one batch": lambda loader, model: train.update_bn(loader[:1], model),
            "one batch of all": lambda loader, model: train.update_bn([jnp.concatenate(loader)], model),
        },
    ),
]
