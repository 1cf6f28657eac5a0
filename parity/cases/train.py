"""Cases of `jaxtrain.train`: the statistics of batch norms, and the scale of a float16 loss."""

from functools import partial

import jax.numpy as jnp
import torch

from jaxtrain import train
from parity.case import Case
from parity.subjects.averaging import UpdateBnCase
from parity.subjects.grad_scaler import GradScalerCase


def see_all(loader, model):
    """What a training loop does to the statistics."""
    for batch in loader:
        model(batch)


class NeverSkips(train.GradScaler):
    """Leaves its state alone when gradients are not finite."""

    def update(self, state, finite):
        return super().update(state, True)


class Forgetful(train.GradScaler):
    """Counts finite steps over a step that was not."""

    def update(self, state, finite):
        return super().update(state, finite)._replace(growth_tracker=super().update(state, True).growth_tracker)


class NeverCounts(train.GradScaler):
    """Grows after every finite step."""

    def update(self, state, finite):
        return super().update(state._replace(growth_tracker=jnp.int32(self.growth_interval - 1)), finite)


ODD = {"init_scale": 3000.0, "growth_factor": 1.7, "backoff_factor": 0.3, "growth_interval": 4}

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
    *(
        GradScalerCase(
            component="train.GradScaler",
            configuration=configuration,
            ours=partial(train.GradScaler, **options),
            reference=partial(torch.amp.GradScaler, "cpu", **options),
            defects={
                "never shrinks": partial(NeverSkips, **options),
                "counts over skipped steps": partial(Forgetful, **options),
                "grows every time": partial(NeverCounts, **options),
                "grows a step late": partial(
                    train.GradScaler, **{**options, "growth_interval": options["growth_interval"] + 1}
                ),
                "shrinks too little": partial(train.GradScaler, **{**options, "backoff_factor": 0.6}),
            },
        )
        for configuration, options in (("growth_interval=5", {"growth_interval": 5}), ("odd factors", ODD))
    ),
]
