"""Cases of `jaxtrain.optim`: averages of models."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from torch.optim import swa_utils

from jaxtrain import optim
from jaxtrain.optim.averaging import AveragedModel
from parity.case import Case
from parity.subjects.averaging import AveragingCase


def case(component: str, configuration: str, **options: Any) -> Case:
    return AveragingCase(component=f"optim.{component}", configuration=configuration, **options)


def with_count(shift: int, average: AveragedModel) -> AveragedModel:
    """The averaged model as if it had seen `shift` models more at its start."""

    def init(params, buffers=None):
        state = average.init(params, buffers)
        return state._replace(n_averaged=state.n_averaged + shift)

    return AveragedModel(init, average.update_parameters)


def slowing_down(averaged, current, number):
    return averaged + (current - averaged) / (number / 2 + 2)


def debiased(decay: float) -> AveragedModel:
    """An exponential average that starts from zero and corrects for it."""

    def average(averaged, current, number):
        correction = 1 - jnp.float32(decay) ** number
        return (decay * averaged * correction + (1 - decay) * current) / (1 - jnp.float32(decay) ** (number + 1))

    return optim.averaged_model(average)


CASES: list[Case] = [
    case(
        "averaged_model",
        "defaults",
        ours=optim.averaged_model,
        reference=swa_utils.AveragedModel,
        defects={
            "the first state counts": lambda: with_count(1, optim.averaged_model()),
            "buffers averaged": partial(optim.averaged_model, use_buffers=True),
            "exponential": lambda: optim.averaged_model(optim.get_ema_avg_fn(0.9)),
        },
    ),
    case(
        "averaged_model",
        "use_buffers",
        ours=partial(optim.averaged_model, use_buffers=True),
        reference=lambda model: swa_utils.AveragedModel(model, use_buffers=True),
        defects={"buffers copied": optim.averaged_model},
    ),
    case(
        "averaged_model",
        "your own avg_fn",
        ours=lambda: optim.averaged_model(lambda a, c, number: slowing_down(a, c, number.astype(a.dtype))),
        reference=lambda model: swa_utils.AveragedModel(model, avg_fn=slowing_down),
        defects={
            "counts the current model": lambda: optim.averaged_model(
                lambda a, c, number: slowing_down(a, c, number + 1)
            )
        },
    ),
    case(
        "get_swa_avg_fn",
        "defaults",
        ours=lambda: optim.averaged_model(optim.get_swa_avg_fn()),
        reference=lambda model: swa_utils.AveragedModel(model, avg_fn=swa_utils.get_swa_avg_fn()),
        defects={"one model less": lambda: optim.averaged_model(lambda a, c, number: a + (c - a) / number)},
    ),
    case(
        "get_ema_avg_fn",
        "decay=0.999",
        ours=lambda: optim.averaged_model(optim.get_ema_avg_fn()),
        reference=lambda model: swa_utils.AveragedModel(model, avg_fn=swa_utils.get_ema_avg_fn()),
        defects={
            "starts from the initial model": lambda: with_count(1, optim.averaged_model(optim.get_ema_avg_fn())),
            "starts from zero, corrected": lambda: debiased(0.999),
            "weights swapped": lambda: optim.averaged_model(optim.get_ema_avg_fn(0.001)),
        },
    ),
    case(
        "get_ema_avg_fn",
        "decay=7/8, for lists, use_buffers",
        ours=lambda: optim.averaged_model(optim.get_ema_avg_fn(0.875), use_buffers=True),
        reference=lambda model: swa_utils.AveragedModel(
            model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.875), use_buffers=True
        ),
        defects={
            "the decay of before": lambda: optim.averaged_model(optim.get_ema_avg_fn(), use_buffers=True),
            "integers rounded to the nearest": lambda: optim.averaged_model(
                lambda a, c, _: jnp.where(a == jnp.round(a), jnp.round(a + (c - a) / 8), a + (c - a) / 8), True
            ),
        },
    ),
]
