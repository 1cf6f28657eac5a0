"""Cases of `jaxtrain.optim`: L-BFGS."""

from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from typing import Any

import jax
import numpy as np
import optax
import torch

from jaxtrain import optim
from parity.case import Case
from parity.cases.optim._table import Factory, text_of
from parity.references.objectives import level, plateau, problems, smooth, start, steep, valley
from parity.subjects.closure import ClosureCase

Defect = Callable[..., Factory]


def case(
    objective: Callable,
    defects: Mapping[str, Defect],
    *,
    configuration: str | None = None,
    size: int = 12,
    **options: Any,
) -> Case:
    """L-BFGS on both sides with the same arguments.

    Args:
        objective: what is minimized.
        defects: by name, what makes a wrong optimizer from the arguments.
        configuration: what distinguishes the case. Default None: its arguments.
        size: number of parameters at the start.
        **options: arguments of the optimizer by name, and those of `ClosureCase`.
    """
    arguments = {name: options.pop(name) for name in [*options] if name in signature(optim.lbfgs).parameters}
    given = {"start": start(size), "problems": problems(size), "updates": 3}
    return ClosureCase(
        component="optim.lbfgs",
        configuration=configuration or text_of(arguments),
        ours=partial(optim.lbfgs, **arguments),
        reference=partial(torch.optim.LBFGS, **arguments),
        objective=objective,
        defects={bug: wrong(**arguments) for bug, wrong in defects.items()},
        states=("d", "prev_flat_grad", "prev_loss"),
        **(given | options),
    )


def but(**changed: Any) -> Defect:
    """Some arguments have other values."""
    return lambda **arguments: partial(optim.lbfgs, **(arguments | changed))


def forgetful(**arguments: Any) -> Factory:
    """The optimizer that starts afresh with every update."""

    def factory():
        optimizer = optim.lbfgs(**arguments)

        def update(gradients, state, params, **extra):
            return optimizer.update(gradients, optimizer.init(params), params, **extra)

        return optax.GradientTransformationExtraArgs(optimizer.init, update)

    return factory


def optax_iterations(number: int, **options) -> optax.GradientTransformationExtraArgs:
    """As many updates of Optax's L-BFGS."""
    optimizer = optax.lbfgs(linesearch=None, **options)

    def update(gradients, state, params, *, value_fn, **extra):
        del gradients, extra

        def iterate(_, carry):
            moved, state = carry
            value, gradients = jax.value_and_grad(value_fn)(moved)
            updates, state = optimizer.update(gradients, state, moved, value=value, grad=gradients, value_fn=value_fn)
            return optax.apply_updates(moved, updates), state

        moved, state = jax.lax.fori_loop(0, number, iterate, (params, state))
        return {name: moved[name] - params[name] for name in params}, state

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


CASES: list[Case] = [
    case(
        smooth,
        {
            "optax": lambda **_: partial(optax_iterations, 4, learning_rate=0.3),
            "forgets its memory": forgetful,
            "one evaluation less": but(max_eval=3),
            "a full first step": but(lr=lambda count: 0.3, max_iter=3),
        },
        lr=0.3,
        max_iter=4,
    ),
    case(
        valley,
        {"longer history": but(history_size=3), "one evaluation more": but(max_eval=7)},
        lr=0.1,
        max_iter=8,
        max_eval=6,
        history_size=2,
    ),
    case(
        smooth,
        {"gradient's ignored": but(tolerance_grad=0.0), "change's ignored": but(tolerance_change=0.0)},
        lr=0.3,
        max_iter=20,
        tolerance_grad=0.5,
        tolerance_change=0.1,
    ),
    case(
        steep,
        {"no line search": but(lr=0.3, line_search_fn=None), "forgets its memory": forgetful},
        max_iter=8,
        line_search_fn="strong_wolfe",
        size=6,
        updates=2,  # A third update starts where the loss is flat, and its gradient is what rounding left.
    ),
    case(
        steep,
        {"one evaluation more": but(max_eval=8), "another first trial": but(lr=1.0)},
        lr=2.0,
        max_iter=4,
        max_eval=7,
        line_search_fn="strong_wolfe",
        size=6,
    ),
    case(
        valley,
        {"one evaluation more": but(max_eval=10), "no line search": but(line_search_fn=None)},
        max_iter=10,
        max_eval=9,
        line_search_fn="strong_wolfe",
        size=6,
        updates=1,
    ),
    case(
        level,
        {"any decrease": but(line_search_fn=None)},
        configuration="strong_wolfe, hardly a decrease",
        max_iter=4,
        line_search_fn="strong_wolfe",
        start={"weight": np.zeros(1)},
        problems=np.arange(-10.25, 10.0),
        updates=1,
    ),
    case(
        plateau,
        {"one evaluation less": but(max_eval=3)},
        configuration="strong_wolfe, trials that stall",
        max_iter=4,
        line_search_fn="strong_wolfe",
        start={"weight": np.zeros(1)},
        problems=np.arange(0.0, 20.0),
        updates=1,
    ),
]
