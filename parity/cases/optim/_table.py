"""What the tables of this package share."""

from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from typing import Any

import optax
import torch
from torch.optim import lr_scheduler

from parity.case import Case
from parity.counterparts import counterpart
from parity.subjects.optimizer import OptimizerCase

Factory = Callable[[], optax.GradientTransformation]


FIRST_RATE = 0.01


def halving(count):
    """A schedule that both sides know: from `FIRST_RATE` on, half the rate every hundred steps."""
    return FIRST_RATE * 0.5 ** (count // 100).astype(float)


def torch_halving(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    return lr_scheduler.StepLR(optimizer, 100, 0.5)


def case(
    optimizer: Callable[..., optax.GradientTransformation],
    *values: Any,
    configuration: str | None = None,
    wrapped: Callable[[Factory], Factory] = lambda factory: factory,
    **options: Any,
) -> Case:
    """An optimizer against PyTorch's of the same name, both called with the same arguments.

    Args:
        optimizer: ours; PyTorch's follows from its name.
        *values: arguments by position. `halving` stands for the schedule that both sides know.
        configuration: what distinguishes the case. Default None: its arguments and its precision.
        wrapped: what is done to our optimizer before it is compared.
        **options: arguments of the optimizer by name, and those of `OptimizerCase`.
    """
    parameters = signature(optimizer).parameters
    given = dict(zip(parameters, values, strict=False))
    given |= {name: options.pop(name) for name in [*options] if name in parameters}
    component = f"optim.{optimizer.__name__}"
    reference = counterpart(component)
    for_torch = {name: FIRST_RATE if value is halving else value for name, value in given.items()}
    if halving in given.values():
        options["scheduler"] = torch_halving
    return OptimizerCase(
        component=component,
        configuration=configuration or text_of(given, options.get("precision")),
        ours=wrapped(partial(optimizer, **given)),
        reference=partial(reference, **for_torch),
        **options,
    )


def special_case(component: str, configuration: str, ours: Factory, reference: Callable, **options: Any) -> Case:
    """A case whose two sides do not follow from one call."""
    return OptimizerCase(
        component=f"optim.{component}", configuration=configuration, ours=ours, reference=reference, **options
    )


def text_of(arguments: Mapping[str, Any], precision: str | None = None) -> str:
    """The arguments of a call by name, then the precision. A flag is named where it is set."""
    texts = [
        "schedule" if value is halving else name if value is True else f"{name}={value!r}"
        for name, value in arguments.items()
    ]
    return ", ".join(texts + ([precision] if precision else [])) or "defaults"


def decoupled_instead_of_l2(optimizer: Factory, weight_decay: float, lr: float) -> Factory:
    return lambda: optax.chain(optimizer(), optax.add_decayed_weights(-lr * weight_decay))
