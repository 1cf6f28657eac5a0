"""Cases of `jaxtrain.optim`: L-BFGS."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np
import optax
import torch

from jaxtrain import optim
from parity.case import Case
from parity.cases.optim._table import Factory
from parity.references.objectives import level, plateau, problems, smooth, start, steep, valley
from parity.subjects.closure import ClosureCase


def case(
    configuration: str,
    ours: Factory,
    reference: Callable,
    objective: Callable,
    defects: dict,
    size: int = 12,
    **options,
) -> Case:
    given = {"start": start(size), "problems": problems(size), "updates": 3}
    return ClosureCase(
        component="optim.lbfgs",
        configuration=configuration,
        ours=ours,
        reference=reference,
        objective=objective,
        defects=defects,
        states=("d", "prev_flat_grad", "prev_loss"),
        **(given | options),
    )


def forgetful(make: Factory) -> Factory:
    """The optimizer that starts afresh with every update."""

    def factory():
        optimizer = make()

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
        "lr=0.3, max_iter=4",
        partial(optim.lbfgs, 0.3, max_iter=4),
        lambda p: torch.optim.LBFGS(p, 0.3, max_iter=4),
        smooth,
        {
            "optax": partial(optax_iterations, 4, learning_rate=0.3),
            "forgets its memory": forgetful(partial(optim.lbfgs, 0.3, max_iter=4)),
            "one evaluation less": partial(optim.lbfgs, 0.3, max_iter=4, max_eval=3),
            "a full first step": partial(optim.lbfgs, lambda count: 0.3, max_iter=3),
        },
    ),
    case(
        "history_size=2, max_eval=6",
        partial(optim.lbfgs, 0.1, max_iter=8, max_eval=6, history_size=2),
        lambda p: torch.optim.LBFGS(p, 0.1, max_iter=8, max_eval=6, history_size=2),
        valley,
        {
            "longer history": partial(optim.lbfgs, 0.1, max_iter=8, max_eval=6, history_size=3),
            "one evaluation more": partial(optim.lbfgs, 0.1, max_iter=8, max_eval=7, history_size=2),
        },
    ),
    case(
        "tolerances",
        partial(optim.lbfgs, 0.3, max_iter=20, tolerance_grad=0.5, tolerance_change=0.1),
        lambda p: torch.optim.LBFGS(p, 0.3, max_iter=20, tolerance_grad=0.5, tolerance_change=0.1),
        smooth,
        {
            "gradient's ignored": partial(optim.lbfgs, 0.3, max_iter=20, tolerance_grad=0.0, tolerance_change=0.1),
            "change's ignored": partial(optim.lbfgs, 0.3, max_iter=20, tolerance_grad=0.5, tolerance_change=0.0),
        },
    ),
    case(
        "strong_wolfe, max_iter=8",
        partial(optim.lbfgs, max_iter=8, line_search_fn="strong_wolfe"),
        lambda p: torch.optim.LBFGS(p, max_iter=8, line_search_fn="strong_wolfe"),
        steep,
        {
            "no line search": partial(optim.lbfgs, 0.3, max_iter=8),
            "forgets its memory": forgetful(partial(optim.lbfgs, max_iter=8, line_search_fn="strong_wolfe")),
        },
        size=6,
        updates=2,  # A third update starts where the loss is flat, and its gradient is what rounding left.
    ),
    case(
        "strong_wolfe, max_iter=4, max_eval=7",
        partial(optim.lbfgs, 2.0, max_iter=4, max_eval=7, line_search_fn="strong_wolfe"),
        lambda p: torch.optim.LBFGS(p, 2.0, max_iter=4, max_eval=7, line_search_fn="strong_wolfe"),
        steep,
        {
            "one evaluation more": partial(optim.lbfgs, 2.0, max_iter=4, max_eval=8, line_search_fn="strong_wolfe"),
            "another first trial": partial(optim.lbfgs, 1.0, max_iter=4, max_eval=7, line_search_fn="strong_wolfe"),
        },
        size=6,
    ),
    case(
        "strong_wolfe, hardly a decrease",
        partial(optim.lbfgs, max_iter=4, line_search_fn="strong_wolfe"),
        lambda p: torch.optim.LBFGS(p, max_iter=4, line_search_fn="strong_wolfe"),
        level,
        {"any decrease": partial(optim.lbfgs, max_iter=4)},
        start={"weight": np.zeros(1)},
        problems=np.arange(-10.25, 10.0),
        updates=1,
    ),
    case(
        "strong_wolfe, trials that stall",
        partial(optim.lbfgs, max_iter=4, line_search_fn="strong_wolfe"),
        lambda p: torch.optim.LBFGS(p, max_iter=4, line_search_fn="strong_wolfe"),
        plateau,
        {"one evaluation less": partial(optim.lbfgs, max_iter=4, max_eval=3, line_search_fn="strong_wolfe")},
        start={"weight": np.zeros(1)},
        problems=np.arange(0.0, 20.0),
        updates=1,
    ),
]
